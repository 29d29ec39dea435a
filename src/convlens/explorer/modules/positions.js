// Positions of a map: a click, or the arrow keys and Enter, choose one, whose page is shown.
const attach = () => {
  const map = document.getElementById("positions");
  if (!map) return;
  const { rows, columns } = map.dataset;
  const frame = map.querySelector(".frame");
  const line = document.querySelector(".pointed-position");
  let [row, column] = map.dataset.at.split(",").map(Number);
  const show = () => {
    frame.style.setProperty("--row", row / rows);
    frame.style.setProperty("--column", column / columns);
    line.textContent = `${row},${column}`;
  };
  const choose = () => document.dispatchEvent(new CustomEvent("visit", {
    detail: map.dataset.address.replace("Y_X", `${row}%2C${column}`),
  }));
  const clamp = (value, most) => Math.min(Math.max(value, 0), most - 1);
  map.addEventListener("pointermove", (event) => {
    const { left, top, width, height } = map.querySelector("img").getBoundingClientRect();
    row = clamp(Math.floor((event.clientY - top) / height * rows), rows);
    column = clamp(Math.floor((event.clientX - left) / width * columns), columns);
    show();
  });
  map.addEventListener("click", choose);
  map.addEventListener("keydown", (event) => {
    const [down, across] = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    }[event.key] ?? [0, 0];
    if (down || across) {
      event.preventDefault();
      row = clamp(row + down, rows);
      column = clamp(column + across, columns);
      show();
    } else if (event.key === "Enter") choose();
  });
};
document.addEventListener("shown", attach);
attach();
