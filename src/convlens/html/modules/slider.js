// Sliders: in `.slides`, the range input picks one `.slide`. Without scripts all slides show.
for (const slides of document.querySelectorAll(".slides")) {
  const range = slides.querySelector("input[type=range]");
  const frames = [...slides.querySelectorAll(".slide")];
  const pick = () => {
    frames.forEach((frame, index) => frame.classList.toggle("current", index === Number(range.value)));
    range.setAttribute("aria-valuetext", frames[range.value].dataset.value);
  };
  range.addEventListener("input", pick);
  pick();
}
