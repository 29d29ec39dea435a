"""The links of the built site: they lead to pages and headings, and nothing is loaded from outside.

`make test-all` builds the site before the tests run; without a built site they are skipped.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from support.site import DOCS

SITE = DOCS / "_build" / "html"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SITE.is_dir(), reason="the site is not built: make docs"),
]


@dataclass
class Page(HTMLParser):
    """The anchors of a page, the addresses it links to, and those of the files it loads."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attributes if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag in ("a", "area"):
            self.links |= {values["href"]} if "href" in values else set()
        else:
            self.loaded |= {values[name] for name in ("href", "src") if name in values}


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    """The pages of the site by their resolved paths, without the templates of its theme."""
    paths = [path.resolve() for path in sorted(SITE.rglob("*.html"))]
    return {path: Page(path) for path in paths if "_static" not in path.parts}


def find_target(page: Page, address: str) -> Path:
    """The file that an address without a host leads to."""
    path = unquote(urlsplit(address).path)
    target = (page.path.parent / path).resolve() if path else page.path
    return target / "index.html" if target.is_dir() else target


def test_links_lead_to_files_and_anchors_of_the_site(pages: dict[Path, Page]) -> None:
    dead = []
    for page in pages.values():
        for address in page.links | page.loaded:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = find_target(page, address)
            anchor = unquote(parts.fragment)
            is_known = target in pages and anchor in pages[target].anchors
            if not target.is_file() or (anchor and not is_known):
                dead.append(f"{page.path.relative_to(SITE.resolve())}: {address}")
    assert not dead, "\n".join(sorted(dead))


def test_pages_load_nothing_from_other_hosts(pages: dict[Path, Page]) -> None:
    foreign = [
        f"{page.path.name}: {address}"
        for page in pages.values()
        for address in page.loaded
        if urlsplit(address).netloc
    ]
    assert not foreign, "\n".join(foreign)


def test_every_page_can_be_reached_from_the_start_page(pages: dict[Path, Page]) -> None:
    start = (SITE / "index.html").resolve()
    reached, waiting = {start}, [start]
    while waiting:
        page = pages[waiting.pop()]
        targets = {find_target(page, link) for link in page.links if not urlsplit(link).netloc}
        new = (targets & pages.keys()) - reached
        reached |= new
        waiting += new
    # What readers open by the search box and not by links.
    tools = {"search.html", "genindex.html", "py-modindex.html"}
    lost = {path.name for path in pages.keys() - reached} - tools
    assert not lost
