// Convolution: the arithmetic of a small convolution on numbers that one can edit. Nothing is asked of
// the server; the state is in the address.
const outputSize = (length, kernel, { padding, stride, dilation }) =>
  Math.floor((length + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;

// For each position of the feature map its value and the products that it is the sum of.
const convolve = (image, kernel, settings) => {
  const { padding, stride, dilation, bias } = settings;
  const rows = outputSize(image.length, kernel.length, settings);
  const columns = outputSize(image[0].length, kernel[0].length, settings);
  const at = (y, x) => image[y]?.[x] ?? 0;
  return Array.from({ length: Math.max(rows, 0) }, (_, row) => Array.from({ length: Math.max(columns, 0) }, (__, column) => {
    const terms = kernel.flatMap((weights, i) => weights.map((weight, j) => {
      const [y, x] = [row * stride + i * dilation - padding, column * stride + j * dilation - padding];
      return { y, x, value: at(y, x), weight };
    }));
    const sum = terms.reduce((total, { value, weight }) => total + value * weight, bias);
    const largest = Math.max(Math.abs(bias), ...terms.map(({ value, weight }) => Math.abs(value * weight)));
    // 0.1 + 0.2 − 0.3 leaves a rounding error of 6e-17.
    return { value: Math.abs(sum) < largest * 1e-14 ? 0 : sum, terms };
  }));
};

const write = (number) => String(Number(number.toPrecision(7))).replace("-", "−");
const factor = (number) => (number < 0 ? `(${write(number)})` : write(number));
const element = (name, text = "", className = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
};
const attach = () => {
  const page = document.getElementById("convolution");
  if (!page) return;
  const boxOf = (name) => page.querySelector(`[data-matrix=${name}]`);
  const alert = page.querySelector("[role=alert]");
  const result = page.querySelector(".result");
  let chosen = [0, 0];

  const read = (name) => [...boxOf(name).querySelectorAll(".entries .row")].map((row) =>
    [...row.children].map((input) => {
      const number = Number(input.value.replace("−", "-"));
      if (input.value.trim() === "" || !Number.isFinite(number)) throw new Error(`“${input.value}” in the ${name} is no number.`);
      return number;
    }));
  const settings = () => {
    const numbers = Object.fromEntries([...page.querySelectorAll(".settings input")].map((input) => [input.name, Number(input.value.replace("−", "-"))]));
    if (!Number.isFinite(numbers.bias)) throw new Error("The bias is no number.");
    return numbers;
  };
  const resize = (name) => {
    const box = boxOf(name);
    const [rows, columns] = ["rows", "columns"].map((side) => {
      const input = box.querySelector(`[data-size=${side}]`);
      return Math.min(Math.max(Math.round(Number(input.value)) || 1, 1), Number(box.dataset.largest));
    });
    const before = [...box.querySelectorAll(".row")].map((row) => [...row.children].map((input) => input.value));
    box.querySelector(".entries").replaceChildren(...Array.from({ length: rows }, (_, y) => {
      const row = element("div", "", "row");
      row.append(...Array.from({ length: columns }, (__, x) => {
        const input = element("input");
        Object.assign(input, { type: "text", inputMode: "decimal", value: before[y]?.[x] ?? "0", size: 3 });
        input.setAttribute("aria-label", `${name} ${y},${x}`);
        return input;
      }));
      return row;
    }));
  };
  const explain = (image, numbers, map) => {
    const cell = map[chosen[0]]?.[chosen[1]];
    const line = page.querySelector(".sum");
    const padded = page.querySelector(".padded");
    padded.replaceChildren();
    if (!cell) { line.textContent = ""; return; }
    const sum = cell.terms.map(({ value, weight }) => `${factor(value)}·${factor(weight)}`).join(" + ");
    const bias = numbers.bias ? ` ${numbers.bias < 0 ? "−" : "+"} ${write(Math.abs(numbers.bias))}` : "";
    line.textContent = `${chosen.join(",")}: ${sum}${bias} = ${write(cell.value)}`;
    const under = new Map(cell.terms.map(({ y, x, weight }) => [`${y},${x}`, weight]));
    const table = element("table", "", "grid");
    for (let y = -numbers.padding; y < image.length + numbers.padding; y += 1) {
      const row = table.insertRow();
      const heading = element("th", `row ${y}`, "unseen");
      heading.scope = "row";
      row.append(heading);
      for (let x = -numbers.padding; x < image[0].length + numbers.padding; x += 1) {
        const shown = row.insertCell();
        const inside = y >= 0 && y < image.length && x >= 0 && x < image[0].length;
        shown.textContent = write(inside ? image[y][x] : 0);
        shown.classList.toggle("padding", !inside);
        const weight = under.get(`${y},${x}`);
        if (weight !== undefined) {
          shown.classList.add("under");
          shown.append(element("small", ` ×${factor(weight)}`));
        }
      }
    }
    padded.append(table);
    for (const button of result.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.at === chosen.join(",")));
    }
  };
  const list = (image, kernel, numbers, map) => {
    const formula = (length, side) => {
      const { padding, stride, dilation } = numbers;
      return `⌊(${length} + 2·${padding} − ${dilation}·(${side} − 1) − 1) / ${stride}⌋ + 1 = ${outputSize(length, side, numbers)}`;
    };
    const [rows, columns] = [map.length, map[0]?.length ?? 0];
    const weights = kernel.length * kernel[0].length;
    page.querySelector(".sizes-by-formula").replaceChildren(...[
      ["rows", formula(image.length, kernel.length)],
      ["columns", formula(image[0].length, kernel[0].length)],
      ["parameters", `${kernel.length}·${kernel[0].length} + 1 = ${weights + 1}`],
      ["multiply-adds", `${rows}·${columns}·${weights} = ${rows * columns * weights}`],
    ].flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
  };
  const remember = (image, kernel, numbers) => {
    const text = (matrix) => matrix.map((row) => row.join(",")).join(";");
    const query = new URLSearchParams({ image: text(image), kernel: text(kernel) });
    for (const [name, value] of Object.entries(numbers)) query.set(name, value);
    history.replaceState(null, "", `${location.pathname}?${query}`);
    const words = `--image '${text(image)}' --filter '${text(kernel)}' --bias ${numbers.bias} --padding ${numbers.padding} --stride ${numbers.stride}`;
    const command = document.getElementById("command");
    command.hidden = numbers.dilation !== 1; // which the command does not have
    command.dataset.text = `convlens convolution ${words}`;
    document.getElementById("python").dataset.text = "import torch\n"
      + `image = torch.tensor(${JSON.stringify(image)}, dtype=torch.float32)\n`
      + `kernel = torch.tensor(${JSON.stringify(kernel)}, dtype=torch.float32)\n`
      + `torch.nn.functional.conv2d(image[None, None], kernel[None, None], stride=${numbers.stride}, padding=${numbers.padding}, dilation=${numbers.dilation}) + ${numbers.bias}`;
  };
  const compute = () => {
    let image; let kernel; let numbers;
    try {
      [image, kernel, numbers] = [read("image"), read("kernel"), settings()];
    } catch (error) {
      alert.textContent = error.message;
      alert.hidden = false;
      return;
    }
    for (const input of page.querySelectorAll(".settings input[type=range]")) input.nextElementSibling.textContent = input.value;
    const map = convolve(image, kernel, numbers);
    const empty = !map.length || !map[0].length;
    alert.hidden = !empty;
    alert.textContent = empty ? "The kernel does not fit into the padded image." : "";
    if (!map[chosen[0]]?.[chosen[1]]) chosen = [0, 0];
    result.replaceChildren(...map.map((cells, row) => {
      const line = element("div", "", "row");
      line.append(...cells.map(({ value }, column) => {
        const button = element("button", write(value));
        button.type = "button";
        button.dataset.at = `${row},${column}`;
        button.setAttribute("aria-label", `${row},${column}: ${write(value)}`);
        const choose = () => { chosen = [row, column]; explain(image, numbers, map); };
        for (const kind of ["pointerenter", "focus", "click"]) button.addEventListener(kind, choose);
        return button;
      }));
      return line;
    }));
    explain(image, numbers, map);
    list(image, kernel, numbers, map);
    remember(image, kernel, numbers);
  };
  page.addEventListener("input", ({ target }) => {
    if (target.dataset.size) resize(target.closest("[data-matrix]").dataset.matrix);
    compute();
  });
  compute();
};
document.addEventListener("shown", attach);
attach();
