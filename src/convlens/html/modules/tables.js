// Tables: in `.rows`, the headings of the columns sort the rows, and the search box filters them.
// A row is sorted by the exact value of its `data` element where it has one, else by its text.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const text = cell.querySelector("data")?.value ?? cell.textContent.trim().replace(/[,%\s]/g, "").replace("−", "-");
  const number = text === "" ? NaN : Number(text);
  return Number.isNaN(number) ? cell.textContent.trim() : number;
};
const compare = (one, other) => {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
};
const sorted = (rows, column, direction) => {
  const sign = direction === "descending" ? -1 : 1;
  const keyed = rows.map((row) => ({ row, value: valueOf(row, column) }));
  const filled = keyed.filter(({ value }) => value !== "").sort((one, other) => sign * compare(one.value, other.value));
  return [...filled, ...keyed.filter(({ value }) => value === "")].map(({ row }) => row); // empty cells last
};
for (const box of document.querySelectorAll(".rows")) {
  const body = box.querySelector("tbody");
  const rows = [...body.rows];
  const headings = [...box.querySelectorAll("thead th")];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      // Numbers start with the greatest; a third click restores the order of the page.
      const isNumber = rows.some((row) => typeof valueOf(row, column) === "number");
      const directions = isNumber ? ["descending", "ascending"] : ["ascending", "descending"];
      const next = directions[directions.indexOf(heading.getAttribute("aria-sort")) + 1];
      for (const other of headings) other.removeAttribute("aria-sort");
      if (next) heading.setAttribute("aria-sort", next);
      body.append(...(next ? sorted(rows, column, next) : rows));
    });
  });
  const count = box.querySelector(".number-of-rows");
  const total = count.textContent;
  box.querySelector("input[type=search]")?.addEventListener("input", ({ target }) => {
    const words = target.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(words);
    box.classList.toggle("filtered", words !== "");
    count.textContent = words === "" ? total : `${rows.filter((row) => !row.hidden).length} of ${total}`;
  });
}
