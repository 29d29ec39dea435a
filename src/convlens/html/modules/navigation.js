// Navigation: `nav.contents` marks the section that is being read, the last one that begins in the
// upper third of the window.
const contents = document.querySelector("nav.contents");
const entries = [...(contents?.querySelectorAll("a") ?? [])]
  .map((link) => ({ link, section: document.getElementById(decodeURIComponent(link.hash.slice(1))) }));
let current = null;
const mark = () => {
  const read = entries.findLast(({ section }) => section.getBoundingClientRect().top <= innerHeight / 3);
  const link = (read ?? entries[0]).link;
  if (link === current) return;
  current?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  current = link;
  contents.scrollLeft = link.offsetLeft - contents.clientWidth / 2 + link.offsetWidth / 2;
};
if (entries.length) {
  addEventListener("scroll", mark, { passive: true });
  mark();
}
