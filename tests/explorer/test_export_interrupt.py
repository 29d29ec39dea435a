"""An interrupt of an export: the pages that are written open, and lead to no page that is not."""

import json
import os
import re
import signal
import time
from urllib.parse import unquote

import pytest

import convlens
from convlens.explorer.static_site import remove_dead_links
from support.explorers import save_photos, small_model


def interrupt_at(stage, done):
    """Progress that presses Ctrl-C once."""

    def report(*reported):
        if reported[:2] == (stage, done):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)  # the main thread notes it

    return report


@pytest.mark.parametrize("pages", [1, 14])
def test_the_pages_that_are_written_open(tmp_path, pages):
    messages, photos = [], save_photos(tmp_path)
    page = convlens.export_explorer(
        small_model(), tmp_path / "out", photos, channels=2, notify=messages.append,
        progress=interrupt_at("pages", pages),
    )  # fmt: skip
    folder = page.parent
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("index.html")}
    total = int(messages[0].partition(" ")[0])
    assert pages <= len(written) <= pages + 2 < total  # two are made at the same time
    assert "index.html" in written
    assert messages[-1] == f"interrupted; {len(written)} of {total} pages are written"
    assert json.loads((folder / "explorer.json").read_text("utf-8"))["pages"] == len(written)
    links = 0
    for name in written:
        text = (folder / name).read_text("utf-8")
        assert "data:image" in text or "photo" not in name
        for link in re.findall(
            r'\s(?:href|src|action|data-[a-z]+)="([^"]*\.(?:html|js|css))"', text
        ):
            assert (folder / name).parent.joinpath(unquote(link)).is_file(), (name, link)
            links += link.endswith(".html")
    assert links >= len(written)
    site = (folder / "assets" / "site.js").read_text("utf-8")
    search = json.loads(site.partition(" = ")[2].strip().rstrip(";"))["search"]
    linked = {unquote(entry[1]) for entries in search.values() for entry in entries}
    assert linked <= written
    assert bool(linked) == (pages > 1)


def test_an_earlier_export_stays(tmp_path):
    photos, out = save_photos(tmp_path), tmp_path / "out"
    convlens.export_explorer(small_model(), out, photos, channels=0)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    messages = []
    with pytest.raises(KeyboardInterrupt):
        convlens.export_explorer(
            small_model(), out, photos, channels=0, notify=messages.append,
            progress=interrupt_at("pages", 5),
        )  # fmt: skip
    assert messages[-1] == "interrupted; the earlier export stays"
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_an_interrupt_before_the_first_page_leaves_nothing(tmp_path):
    photos, out = save_photos(tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        convlens.export_explorer(
            small_model(), out, photos, channels=1, progress=interrupt_at("channels", 2)
        )
    assert not out.exists()


def test_only_links_to_missing_pages_are_removed(tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "index.html").write_text("<p>")
    links = (
        '<a href="a%20b/index.html">', '<img src="data:image/png;base64,index.html">',
        '<a href="https://example.org/">', '<link href="assets/x.css">', '<body data-home=".">',
        '<a href="index.html">', '<a href="#index.html">',
    )  # fmt: skip
    dead = '<a id="x" href="../a%20b/none/index.html"><div data-stream="c/index.html">'
    (tmp_path / "index.html").write_text("".join(links) + dead)
    remove_dead_links(tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert text == "".join(links) + '<a id="x"><div>'
