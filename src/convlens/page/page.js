// What scripts add: copying commands, the photo without its map, enlarging, the epsilon slider,
// opening what an address leads into. The page is whole without.
const root = document.documentElement;
root.classList.add("scripted");

const copy = async (button) => {
  const text = button.dataset.text;
  const words = button.querySelector("span");
  const label = words.textContent;
  try {
    await navigator.clipboard.writeText(text);
    words.textContent = "copied";
  } catch {
    window.prompt("Copy:", text);
  }
  setTimeout(() => { words.textContent = label; }, 1200);
};
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", () => copy(button));
}

// Maps: a click, Enter or Space shows the photo, P does so for all.
const maps = [...document.querySelectorAll("img[data-plain]")].map((image) => ({
  image, map: image.src, plain: document.getElementById(image.dataset.plain)?.src ?? image.src,
}));
const show = ({ image, map, plain }, bare) => {
  image.src = bare ? plain : map;
  image.setAttribute("aria-pressed", bare);
};
for (const one of maps) {
  const swap = () => show(one, one.image.getAttribute("aria-pressed") !== "true");
  one.image.tabIndex = 0;
  one.image.setAttribute("role", "button");
  one.image.title = "Click: with or without the map";
  show(one, false);
  one.image.addEventListener("click", swap);
  one.image.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      swap();
    }
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "p" || event.ctrlKey || event.metaKey || event.altKey) return;
  const bare = !maps.every(({ image }) => image.getAttribute("aria-pressed") === "true");
  for (const one of maps) show(one, bare);
});

// Enlarging: as many whole times as the window has room for; the arrow keys go on to the next.
const zoom = document.getElementById("zoom");
const pictures = [...document.querySelectorAll("button.zoom")].map((button) => button.closest("figure"))
  .filter((figure) => figure.querySelector(":scope > img"));
let current = 0;
const enlarge = (index) => {
  current = (index + pictures.length) % pictures.length;
  const image = pictures[current].querySelector(":scope > img");
  const [large, words] = [zoom.querySelector("img"), zoom.querySelector("p")];
  const room = Math.min((innerWidth * 0.92 - 32) / image.naturalWidth, (innerHeight * 0.86 - 96) / image.naturalHeight);
  const times = room >= 1 ? Math.floor(room) : room;
  large.src = image.src;
  large.alt = image.alt;
  large.width = image.naturalWidth * times;
  large.height = image.naturalHeight * times;
  words.textContent = `${image.alt}. ${times >= 1 ? `Enlarged ${times} times.` : "Reduced to fit."}`;
  if (!zoom.open) zoom.showModal();
};
pictures.forEach((figure, index) => {
  figure.querySelector("button.zoom").addEventListener("click", () => enlarge(index));
});
zoom.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") enlarge(current + 1);
  if (event.key === "ArrowLeft") enlarge(current - 1);
});

// An address may lead into what is folded.
const unfold = () => {
  const folded = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details");
  if (folded && !folded.open) {
    folded.open = true;
    document.getElementById(decodeURIComponent(location.hash.slice(1))).scrollIntoView();
  }
};
addEventListener("hashchange", unfold);
unfold();

// Epsilon: the slider picks one of the pictures that stand beside each other without scripts.
for (const slides of document.querySelectorAll(".slides")) {
  const range = slides.querySelector("input[type=range]");
  const frames = [...slides.querySelectorAll(".slide")];
  const pick = () => {
    frames.forEach((frame, index) => frame.classList.toggle("current", index === Number(range.value)));
    range.setAttribute("aria-valuetext", frames[range.value].dataset.words);
  };
  range.addEventListener("input", pick);
  pick();
}
