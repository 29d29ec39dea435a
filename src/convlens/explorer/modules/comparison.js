// Comparison: the same page of two models in two frames. What is opened in one frame is opened in the
// other, for the class of the same name, and the pointer on the photo is drawn in both.
const frames = [...document.querySelectorAll("iframe")];
const status = document.getElementById("status");
const { classes, with: beside } = document.body.dataset;
// For each model the class of the other one by the own index.
const counterparts = [new Map(), new Map(JSON.parse(classes).map((first, second) => [second, first]).filter(([, first]) => first >= 0))];
for (const [second, first] of counterparts[1]) if (!counterparts[0].has(first)) counterparts[0].set(first, second);

const written = (url) => [url.pathname, String(url.searchParams)].filter(Boolean).join("?");
const addressOf = (number) => {
  const url = new URL(frames[number].contentWindow.location);
  url.pathname = url.pathname.slice(frames[number].dataset.home.length) || "/";
  return written(url);
};
// The same page of the other model; null if its class is none of the other one's.
const translate = (number, address) => {
  const url = new URL(address, location.origin);
  const page = /^\/class\/(\d+)$/.exec(url.pathname);
  const index = page ? page[1] : url.searchParams.get("class");
  if (index === null || !/^\d+$/.test(index)) return written(url);
  const other = counterparts[number].get(Number(index));
  if (other === undefined) return null;
  if (page) url.pathname = `/class/${other}`;
  else url.searchParams.set("class", other);
  return written(url);
};
const expected = [null, null]; // the address that a frame opens because the other one did
const open = (number, address) => {
  const frame = frames[number];
  expected[number] = address;
  const full = frame.dataset.home + address;
  if (frame.src) frame.contentDocument.dispatchEvent(new CustomEvent("visit", { detail: { address: full, replace: true } }));
  else frame.src = full;
};
const remember = () => {
  const url = new URL(addressOf(0), location.origin);
  document.getElementById("alone").href = written(url);
  url.searchParams.set("with", beside);
  history.replaceState(null, "", written(url));
};
// The layer of the page of the first model, whose similarity to layers of the other one is offered.
const similarity = document.querySelector("[data-similarity]");
let shownLayer = null;
const layerOf = (address) => {
  const url = new URL(address, location.origin);
  const page = /^\/(?:layer|channel|kernel)\/([^/]+)/.exec(url.pathname);
  return page ? decodeURIComponent(page[1]) : url.searchParams.get("layer") ?? "";
};
const offerSimilarity = async (layer) => {
  if (layer === shownLayer) return;
  shownLayer = layer;
  document.dispatchEvent(new Event("leaving"));
  const answer = await fetch(`${similarity.dataset.similarity}?${new URLSearchParams({ layer })}`).catch(() => null);
  if (layer !== shownLayer) return;
  if (!answer?.ok) {
    similarity.textContent = "The layers could not be compared; start convlens explore again.";
    return;
  }
  similarity.innerHTML = (await answer.json()).html;
  document.dispatchEvent(new Event("shown"));
};
const follow = (number) => {
  const own = addressOf(number);
  const led = expected[number] === own;
  expected[number] = null;
  remember();
  offerSimilarity(layerOf(addressOf(0)));
  if (led) return;
  const other = translate(number, own);
  status.textContent = other === null ? `${frames[1 - number].title} has no class of this name.` : "";
  if (other !== null && (!frames[1 - number].src || addressOf(1 - number) !== other)) open(1 - number, other);
};
const attach = (number) => {
  const page = frames[number].contentDocument;
  page.addEventListener("shown", () => follow(number));
  page.addEventListener("pointed", ({ detail }) => {
    frames[1 - number].contentDocument?.dispatchEvent(new CustomEvent("point", { detail }));
  });
  follow(number);
};
frames.forEach((frame, number) => {
  frame.addEventListener("load", () => { if (frame.src) attach(number); });
});
if (frames[0].contentDocument?.readyState === "complete" && frames[0].contentWindow.location.href !== "about:blank") attach(0);

const box = document.querySelector("[data-answers]");
fetch(box.dataset.answers).then((answer) => answer.json()).then(({ html }) => { box.innerHTML = html; })
  .catch(() => { box.textContent = "The answers could not be compared; start convlens explore again."; });
