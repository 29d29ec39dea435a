// Streams: `[data-stream]` shows what the server computes while the page is open: its progress,
// unfinished pictures of some, and at the end the result; of several computations each result as a
// part when it is there. Leaving the page, or the button, stops the computation.
const sources = new Set();
const stop = (source) => {
  source.close();
  sources.delete(source);
};
const SILENT = "The server does not answer; start convlens explore again.";
// Why a stream was refused. Its events do not have the answer, so the same address is asked again.
const reasonOf = async (address) => {
  const own = new AbortController();
  try {
    const answer = await fetch(address, { signal: own.signal });
    if (answer.ok) return "The computation did not begin; load the page again.";
    const text = await answer.text(); // a page that says why, or plain text
    return new DOMParser().parseFromString(text, "text/html").querySelector(".failure")?.textContent ?? text;
  } catch {
    return SILENT;
  } finally {
    own.abort();
  }
};
const open = (box) => {
  const source = new EventSource(box.dataset.stream);
  const bar = box.querySelector("progress");
  sources.add(source);
  source.addEventListener("progress", ({ data }) => {
    const { done, total, what } = JSON.parse(data);
    if (total) { bar.max = total; bar.value = done; } else bar.removeAttribute("value");
    const name = box.querySelector(".what");
    if (name && name.textContent !== what) name.textContent = what;
  });
  source.addEventListener("preview", ({ data }) => {
    const { source: file, width, height } = JSON.parse(data);
    const image = box.querySelector("img.preview") ?? box.appendChild(new Image());
    Object.assign(image, { className: "preview", alt: "Unfinished picture", src: file, width, height });
  });
  source.addEventListener("part", ({ data }) => {
    box.querySelector(".parts").insertAdjacentHTML("beforeend", JSON.parse(data).html);
  });
  source.addEventListener("end", () => {
    stop(source);
    box.querySelector(".running").remove();
  });
  source.addEventListener("result", ({ data }) => {
    stop(source);
    box.innerHTML = JSON.parse(data).html;
    prepare(box);
  });
  source.addEventListener("failure", ({ data }) => {
    stop(source);
    box.textContent = JSON.parse(data).reason;
  });
  source.addEventListener("error", async () => {
    const refused = source.readyState === EventSource.CLOSED;
    stop(source); // else the browser asks again and again
    box.textContent = refused ? await reasonOf(box.dataset.stream) : SILENT;
  });
  box.querySelector("button.stop").addEventListener("click", () => {
    stop(source);
    (box.querySelector(".running") ?? box).textContent = "Stopped.";
  });
};
const start = () => {
  for (const source of [...sources]) stop(source);
  prepare(document);
};
const prepare = (part) => {
  for (const box of part.querySelectorAll("[data-stream]")) {
    if ("waits" in box.dataset) box.querySelector("button.start").addEventListener("click", () => begin(box));
    else open(box);
  }
};
// What is computed on demand begins at a click.
const begin = (box) => {
  box.querySelector("button.start").remove();
  for (const part of box.querySelectorAll("progress, button.stop")) part.hidden = false;
  open(box);
};
document.addEventListener("shown", start);
document.addEventListener("leaving", () => { for (const source of [...sources]) stop(source); });
start();
