// Receptive fields under the pointer: for each layer the unit whose field has its center nearest to
// the pointer, drawn as nested squares. The intervals of all units were sent once, so that moving the
// pointer asks the server for nothing.
let fields = null;
let frame = null;
let pointer = null; // row and column of a pixel
let pinned = null; // "Y,X"
let waiting = false;

// A page that was exported has brought the intervals along, as files cannot be asked for.
const read = async (address) => globalThis.exportedSite?.fields ?? (await fetch(address)).json();
const load = async (address) => {
  fields ??= read(address).then(({ size, layers }) => ({
    size, layers: layers.map((layer) => ({ ...layer, y: axisOf(layer.y), x: axisOf(layer.x) })),
  }));
  return fields;
};
// First and last pixel of each position. Evenly spaced ones are sent as count, offset, stride, size.
const axisOf = (axis) => {
  if (Array.isArray(axis[0])) return { low: axis[0], high: axis[1] };
  const [count, offset, stride, size] = axis;
  const low = Array.from({ length: count }, (_, index) => offset + index * stride);
  return { low, high: low.map((first) => first + size - 1) };
};
// The position whose field has the nearest center; the first of equally near ones.
const nearest = ({ low, high }, pixel) => {
  let best = 0;
  let least = Infinity;
  for (let index = 0; index < low.length; index += 1) {
    const distance = Math.abs((low[index] + high[index]) / 2 - pixel);
    if (distance < least) { least = distance; best = index; }
  }
  return best;
};
const boxOf = (layer, row, column) => [layer.y.low[row], layer.y.high[row], layer.x.low[column], layer.x.high[column]];

const draw = (all) => {
  waiting = false;
  if (!frame?.isConnected) return;
  const canvas = frame.querySelector("canvas.fields");
  const [height, width] = all.size;
  const { clientWidth, clientHeight } = frame.querySelector("img") ?? frame;
  const density = devicePixelRatio || 1;
  const [wide, high] = [Math.round(clientWidth * density), Math.round(clientHeight * density)];
  if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
  const pixel = width / canvas.width;
  const current = all.layers.find(({ name }) => name === frame.dataset.layer);
  const stroke = ([top, bottom, left, right], color, thickness) => {
    context.strokeStyle = color;
    context.lineWidth = thickness * pixel * density;
    context.strokeRect(left, top, right - left + 1, bottom - top + 1);
  };
  const emphasize = (box) => {
    const [top, bottom, left, right] = box;
    context.fillStyle = "rgb(0 0 0 / .45)";
    context.beginPath();
    context.rect(0, 0, width, height);
    context.rect(left, top, right - left + 1, bottom - top + 1);
    context.fill("evenodd");
    stroke(box, "#000", 4);
    stroke(box, "#ffb000", 2);
  };
  if (pointer) {
    const boxes = all.layers.map((layer) => {
      const [row, column] = [nearest(layer.y, pointer[0]), nearest(layer.x, pointer[1])];
      return { layer, row, column, box: boxOf(layer, row, column) };
    });
    const seen = new Set();
    for (const { layer, box } of boxes) {
      if (layer === current || seen.has(String(box))) continue;
      seen.add(String(box));
      stroke(box, "rgb(0 0 0 / .5)", 2);
      stroke(box, "rgb(255 255 255 / .8)", 1);
    }
    const own = boxes.find(({ layer }) => layer === current);
    if (own) emphasize(own.box);
    tell(boxes, own);
  } else {
    for (const label of document.querySelectorAll("[data-layer] .field")) label.textContent = label.dataset.size ??= label.textContent;
    if (pinned && current) emphasize(boxOf(current, ...pinned));
  }
};
// The list of layers shows the position of each unit, and the line below the photo what it sees.
const tell = (boxes, own) => {
  for (const { layer, row, column } of boxes) {
    const label = document.querySelector(`[data-layer="${CSS.escape(layer.name)}"] .field`);
    if (!label) continue;
    label.dataset.size ??= label.textContent;
    label.textContent = `${row},${column}`;
  }
  const line = document.querySelector(".pointed");
  if (!own || !line) return;
  const [top, bottom, left, right] = own.box;
  line.textContent = `${own.layer.name} at ${own.row},${own.column} sees rows ${top} to ${bottom}, columns ${left} to ${right}`
    + (own.layer.whole ? ", and the whole image through a global operation" : "");
};
const redraw = async () => {
  if (waiting || !frame) return;
  waiting = true;
  const all = await load(frame.dataset.fields);
  requestAnimationFrame(() => draw(all));
};
const pixelOf = (event) => {
  const { left, top, width, height } = frame.querySelector("img").getBoundingClientRect();
  const clamp = (value, most) => Math.min(Math.max(Math.floor(value), 0), most - 1);
  const { height: rows, width: columns } = frame.dataset;
  return [clamp((event.clientY - top) / height * rows, rows), clamp((event.clientX - left) / width * columns, columns)];
};
// Another page that shows the same photo beside this one follows the pointer.
const point = (pixel) => {
  pointer = pixel;
  redraw();
  const { height, width } = frame.dataset;
  document.dispatchEvent(new CustomEvent("pointed", { detail: pixel && [(pixel[0] + 0.5) / height, (pixel[1] + 0.5) / width] }));
};
document.addEventListener("point", ({ detail }) => {
  if (!frame?.isConnected) return;
  pointer = detail && [Math.floor(detail[0] * frame.dataset.height), Math.floor(detail[1] * frame.dataset.width)];
  redraw();
});
const pin = async () => {
  const all = await load(frame.dataset.fields);
  const layer = all.layers.find(({ name }) => name === frame.dataset.layer);
  if (!layer || !pointer || !frame.dataset.pin) return;  // exported pages pin nothing
  const unit = `${nearest(layer.y, pointer[0])}%2C${nearest(layer.x, pointer[1])}`;
  document.dispatchEvent(new CustomEvent("visit", { detail: frame.dataset.pin.replace("Y_X", unit) }));
};
const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const attach = () => {
  frame = document.getElementById("photo-frame");
  if (!frame) return;
  pinned = frame.dataset.at ? frame.dataset.at.split(",").map(Number) : null;
  pointer = null;
  frame.addEventListener("pointermove", (event) => point(pixelOf(event)));
  frame.addEventListener("pointerleave", () => point(null));
  frame.addEventListener("click", (event) => {
    if (event.defaultPrevented) return; // the photo was dragged
    pointer = pixelOf(event);
    pin();
  });
  frame.addEventListener("keydown", (event) => {
    const { height, width } = frame.dataset;
    if (KEYS[event.key]) {
      event.preventDefault();
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(height / 32));
      const [row, column] = pointer ?? [Math.floor(height / 2), Math.floor(width / 2)];
      const [down, across] = pointer ? KEYS[event.key] : [0, 0];
      point([
        Math.min(Math.max(row + down * step, 0), height - 1),
        Math.min(Math.max(column + across * step, 0), width - 1),
      ]);
    } else if (event.key === "Enter") pin();
    else if (event.key === "Escape") point(null);
  });
  redraw();
};
document.addEventListener("shown", attach);
addEventListener("resize", redraw);
attach();
