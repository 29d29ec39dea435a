// Shift: the photo is dragged by whole pixels of the image; the answer for it is asked for once, when
// it is let go.
const attach = () => {
  const form = document.getElementById("shift");
  const frame = document.getElementById("photo-frame");
  if (!form || !frame) return;
  const image = frame.querySelector("img");
  image.draggable = false;
  let start = null;
  let moved = false;
  const offsetOf = (event) => {
    const { width, height } = image.getBoundingClientRect();
    return [
      Math.round((event.clientY - start.y) / height * frame.dataset.height),
      Math.round((event.clientX - start.x) / width * frame.dataset.width),
    ];
  };
  image.addEventListener("pointerdown", (event) => {
    start = { x: event.clientX, y: event.clientY };
    moved = false;
    image.setPointerCapture(event.pointerId);
  });
  image.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [down, right] = offsetOf(event);
    moved ||= down !== 0 || right !== 0;
    const { width, height } = image.getBoundingClientRect();
    image.style.translate = `${right / frame.dataset.width * width}px ${down / frame.dataset.height * height}px`;
  });
  image.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [down, right] = offsetOf(event);
    start = null;
    image.style.translate = "";
    if (!moved) return;
    const total = [Number(form.elements.down.value) + down, Number(form.elements.right.value) + right];
    document.dispatchEvent(new CustomEvent("visit", { detail: form.dataset.address.replace("Y_X", total.join("%2C")) }));
  });
  // A drag is no click, which would pin a unit.
  frame.addEventListener("click", (event) => { if (moved) event.preventDefault(); }, { capture: true });
};
document.addEventListener("shown", attach);
attach();
