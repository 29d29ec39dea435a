// Zoom: `button.zoom` shows the picture of its figure in `dialog#zoom`, enlarged as many whole times
// as the window has room for. The arrow keys go to the neighbors.
const dialog = document.getElementById("zoom");
const figures = [...document.querySelectorAll("button.zoom")].map((button) => button.closest("figure"))
  .filter((figure) => figure.querySelector(":scope > img"));
let current = 0;
const enlarge = (index) => {
  current = (index + figures.length) % figures.length;
  const image = figures[current].querySelector(":scope > img");
  const [large, caption] = [dialog.querySelector("img"), dialog.querySelector("p")];
  const room = Math.min((innerWidth * 0.92 - 32) / image.naturalWidth, (innerHeight * 0.86 - 96) / image.naturalHeight);
  const times = room >= 1 ? Math.floor(room) : room;
  large.src = image.src;
  large.alt = image.alt;
  large.width = image.naturalWidth * times;
  large.height = image.naturalHeight * times;
  caption.textContent = `${image.alt}. ${times >= 1 ? `Enlarged ${times} times.` : "Reduced to fit."}`;
  if (!dialog.open) dialog.showModal();
};
figures.forEach((figure, index) => {
  figure.querySelector("button.zoom").addEventListener("click", () => enlarge(index));
});
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") enlarge(current + 1);
  if (event.key === "ArrowLeft") enlarge(current - 1);
});
