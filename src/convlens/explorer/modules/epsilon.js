// Epsilon: the image at each epsilon is composed here from the photo and the signs of the gradient,
// which were sent once, so that the slider asks the server for nothing. It stops at the measured
// epsilons only.
const pixelsOf = async (image) => {
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
};
const attach = async () => {
  const slider = document.getElementById("epsilon");
  const sent = document.getElementById("signs");
  if (!slider || !sent) return;
  const frame = document.getElementById("photo-frame");
  const context = frame.querySelector("canvas.composed").getContext("2d");
  const rows = [...document.querySelectorAll("#levels tbody tr")];
  const [photo, signs] = await Promise.all([pixelsOf(frame.querySelector("img")), pixelsOf(sent)]);
  const composed = new ImageData(photo.width, photo.height);
  const show = () => {
    const row = rows[slider.value];
    const level = Number(row.dataset.level);
    // A sign was sent as a gray below, at or above 128; the array clamps the sums to 0 to 255.
    for (let index = 0; index < photo.data.length; index += 1) {
      composed.data[index] = index % 4 === 3 ? 255 : photo.data[index] + level * Math.sign(signs.data[index] - 128);
    }
    context.putImageData(composed, 0, 0);
    for (const other of rows) other.classList.toggle("chosen", other === row);
    const epsilon = row.cells[0].textContent.trim();
    const answer = row.querySelector(".name").textContent;
    const probability = row.cells[2].textContent.trim();
    document.querySelector("output[for=epsilon]").textContent = `${epsilon}: ${answer}, ${probability}`;
    slider.setAttribute("aria-valuetext", `${epsilon}: ${answer}`);
  };
  slider.addEventListener("input", show);
  slider.addEventListener("change", () => history.replaceState(null, "", rows[slider.value].dataset.address));
  rows.forEach((row, index) => row.addEventListener("click", () => {
    slider.value = index;
    show();
    history.replaceState(null, "", row.dataset.address);
  }));
  show();
};
document.addEventListener("shown", attach);
attach();
