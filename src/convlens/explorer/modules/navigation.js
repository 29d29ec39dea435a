// Navigation: links and forms replace `main` instead of the whole document, so that the position of
// the page and what other modules know is kept. The newest click ends the older one, whose
// computation the server then stops. Other modules listen to the event "shown", and ask for another
// page with the event "visit".
// Exported pages are opened by the browser itself: it does not let scripts read files, and the links
// of the header are relative, so that they lead from one folder only.
// "visit": its detail is an address, or an address with `replace` for one that takes the place of
// the present one in the history.
if (self !== top) document.documentElement.classList.add("framed");
const isExported = Boolean(globalThis.exportedSite);
let latest = null;
const status = document.getElementById("status");

const replaceMain = (page, address) => {
  const focused = document.activeElement?.id;
  const samePath = new URL(address, location.href).pathname === shownPath;
  document.title = page.title;
  const scrolled = document.querySelector(".scrolling")?.scrollTop ?? 0;
  document.getElementById("main").replaceWith(page.getElementById("main"));
  if (samePath) {
    const list = document.querySelector(".scrolling");
    if (list) list.scrollTop = scrolled;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  } else {
    scrollTo(0, 0);
    document.getElementById("main").focus({ preventScroll: true });
  }
  shownPath = new URL(address, location.href).pathname;
};

// The layer of the page is in sight in the list of layers.
const showCurrent = () => {
  const list = document.querySelector(".layers-list .scrolling");
  const row = list?.querySelector("[aria-current]")?.closest("li");
  if (!row) return;
  const [outer, inner] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) {
    list.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
  }
};

let shownPath = location.pathname;
const visit = async (address, { push = true, replace = false } = {}) => {
  if (isExported) {
    location.href = address;
    return;
  }
  latest?.abort();
  const own = latest = new AbortController();
  const main = document.getElementById("main");
  main.setAttribute("aria-busy", "true");
  document.dispatchEvent(new Event("leaving"));
  const slow = setTimeout(() => { status.textContent = "computing …"; }, 250);
  try {
    const answer = await fetch(address, { signal: own.signal });
    const text = await answer.text();
    if (own !== latest) return;
    const page = new DOMParser().parseFromString(text, "text/html");
    if (!page.getElementById("main")) {  // a refusal is plain text
      main.removeAttribute("aria-busy");
      status.textContent = text.slice(0, 400);
      return;
    }
    if (replace) history.replaceState(null, "", answer.url);
    else if (push) history.pushState(null, "", answer.url);
    replaceMain(page, answer.url);
    status.textContent = "";
    document.dispatchEvent(new Event("shown"));
  } catch (error) {
    if (own !== latest || error.name === "AbortError") return;
    main.removeAttribute("aria-busy");
    status.textContent = "The server does not answer; start convlens explore again.";
  } finally {
    clearTimeout(slow);
  }
};

const leadsHere = (link) => link && !isExported && link.origin === location.origin && !link.target
  && !link.hasAttribute("download") && !link.getAttribute("href").startsWith("#");
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest("a[href]");
  if (link?.dataset.beside) {  // leads to the page that is shown now, beside that of another model
    const url = new URL(location);
    url.searchParams.set("with", link.dataset.beside);
    link.href = url;
    return;
  }
  if (!leadsHere(link)) return;
  event.preventDefault();
  visit(link.href);
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get" || !form.getAttribute("action")) return;
  event.preventDefault();
  visit(`${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`);
});
// The page follows a choice in such a form at once.
document.addEventListener("change", ({ target }) => {
  if (target.matches("select[data-submit]")) target.form.requestSubmit();
});
document.addEventListener("shown", showCurrent);
showCurrent();
document.addEventListener("visit", ({ detail }) => (detail.address ? visit(detail.address, detail) : visit(detail)));
if (!isExported) addEventListener("popstate", () => visit(location.href, { push: false }));
