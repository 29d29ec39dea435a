// Zoom: `button.zoom` shows the visible picture of its figure in `dialog#zoom`, enlarged as many
// whole times as the window has room for. The arrow keys go to the neighbors.
const dialog = document.getElementById("zoom");
const pictureOf = (figure) => [...figure.querySelectorAll("img")].find((image) => image.checkVisibility());
const figures = [...document.querySelectorAll("button.zoom")].map((button) => button.closest("figure"))
  .filter((figure) => figure?.querySelector("img"));
let current = null;
const enlarge = (figure) => {
  current = figure;
  const image = pictureOf(figure);
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
const goBy = (step) => {
  const shown = figures.filter(pictureOf);
  enlarge(shown[(shown.indexOf(current) + step + shown.length) % shown.length]);
};
for (const figure of figures) {
  figure.querySelector("button.zoom").addEventListener("click", () => enlarge(figure));
}
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") goBy(1);
  if (event.key === "ArrowLeft") goBy(-1);
});
