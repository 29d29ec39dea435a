// Copy buttons: `button.copy[data-text]` copies its text.
const copy = async (button) => {
  const text = button.dataset.text;
  const caption = button.querySelector("span");
  const label = caption.textContent;
  try {
    await navigator.clipboard.writeText(text);
    caption.textContent = "copied";
  } catch {
    window.prompt("Copy:", text);
  }
  setTimeout(() => { caption.textContent = label; }, 1200);
};
document.addEventListener("click", ({ target }) => {
  const button = target.closest("button.copy");
  if (button) copy(button);
});
