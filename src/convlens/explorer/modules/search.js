// Search: finds layers, channels (LAYER:K), classes and photos by parts of their names. The names
// are asked for once.
const box = document.getElementById("search");
const list = document.getElementById("found");
const MOST = 12;
// An exported page names the root of its site relative to its own address at the start.
const home = new URL(`${document.documentElement.dataset.home}/`, location.href).href;
let names = null;
let active = -1;

const load = async () => {
  // A page that was exported has brought the names along, as files cannot be asked for.
  names ??= globalThis.exportedSite?.search ?? fetch(`${home}search.json`).then((answer) => answer.json());
  return names;
};
const entriesOf = (all, text) => {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (name) => words.every((word) => name.toLowerCase().includes(word));
  const found = [];
  const channel = /^(.+):(\d+)$/.exec(text.trim());
  if (channel) {
    all.layers.forEach(([name, address], index) => {
      if (name.includes(channel[1]) && Number(channel[2]) < all.channels[index]) {
        found.push(["channel", `${name}:${channel[2]}`, address.replace(/^(.*?)\/layer\/([^/]*)$/, "$1/channel/$2") + `/${Number(channel[2])}`]);
      }
    });
  }
  for (const [kind, group] of [["channel", all.channel_pages ?? []], ["layer", all.layers], ["class", all.classes], ["photo", all.photos]]) {
    for (const [name, address] of group) if (matches(name)) found.push([kind, name, address]);
  }
  const exact = ([, name]) => (name.toLowerCase() === text.trim().toLowerCase() ? 0 : 1);
  return found.sort((one, other) => exact(one) - exact(other)).slice(0, MOST);
};
const close = () => {
  list.hidden = true;
  active = -1;
  box.setAttribute("aria-expanded", "false");
  box.removeAttribute("aria-activedescendant");
};
const show = (entries) => {
  list.replaceChildren(...entries.map(([kind, name, address], index) => {
    const item = document.createElement("li");
    item.role = "option";
    item.id = `found-${index}`;
    item.dataset.address = address;
    const small = document.createElement("small");
    small.textContent = kind;
    item.append(small, ` ${name}`);
    return item;
  }));
  active = -1;
  list.hidden = !entries.length;
  box.setAttribute("aria-expanded", String(!list.hidden));
};
const mark = (index) => {
  const items = [...list.children];
  if (!items.length) return;
  active = (index + items.length) % items.length;
  items.forEach((item, at) => item.setAttribute("aria-selected", String(at === active)));
  items[active].scrollIntoView({ block: "nearest" });
  box.setAttribute("aria-activedescendant", items[active].id);
};
const open = (item) => {
  close();
  box.value = "";
  document.dispatchEvent(new CustomEvent("visit", { detail: new URL(item.dataset.address, home).href }));
};
box.addEventListener("focus", load);
box.addEventListener("input", async () => {
  const text = box.value;
  const all = await load();
  if (text !== box.value) return;
  if (text.trim()) show(entriesOf(all, text));
  else close();
});
box.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    mark(event.key === "ArrowDown" ? active + 1 : active < 0 ? -1 : active - 1);
  } else if (event.key === "Enter" && list.children.length && !list.hidden) {
    event.preventDefault();
    open(list.children[Math.max(active, 0)]);
  } else if (event.key === "Escape") close();
});
list.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
list.addEventListener("click", ({ target }) => {
  const item = target.closest("li");
  if (item) open(item);
});
box.addEventListener("blur", close);
document.addEventListener("shown", () => { names = null; });
