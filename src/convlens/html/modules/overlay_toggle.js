// Overlays: `img[data-plain]` shows the picture with that id after a click, Enter or Space, and the
// overlay after the next. The key P switches all of them.
const overlays = [...document.querySelectorAll("img[data-plain]")].map((image) => ({
  image, overlay: image.src, plain: document.getElementById(image.dataset.plain)?.src ?? image.src,
}));
const isPlain = ({ image }) => image.getAttribute("aria-pressed") === "true";
const show = ({ image, overlay, plain }, bare) => {
  image.src = bare ? plain : overlay;
  image.setAttribute("aria-pressed", bare);
};
for (const entry of overlays) {
  const swap = () => show(entry, !isPlain(entry));
  entry.image.tabIndex = 0;
  entry.image.setAttribute("role", "button");
  entry.image.title = "Click: with or without the map";
  show(entry, false);
  entry.image.addEventListener("click", swap);
  entry.image.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      swap();
    }
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "p" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input[type=search]")) return;
  const bare = !overlays.every(isPlain);
  for (const entry of overlays) show(entry, bare);
});
