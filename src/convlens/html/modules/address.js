// Addresses: an address that leads into folded details or to a card opens them, and one that leads
// to something that a filter hides shows all again.
const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  let hidden = !target.checkVisibility();
  for (let folded = target.closest("details:not([open])"); folded;
    folded = folded.parentElement.closest("details:not([open])")) {
    folded.open = true;
    hidden = true;
  }
  if (!target.checkVisibility()) {
    for (const all of document.querySelectorAll("input[type=radio][value=all]")) all.checked = true;
  }
  const inside = target.matches("article") && target.querySelector(":scope > details:not([open])");
  if (inside) inside.open = true;
  if (hidden || inside) target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
