"""The export: relative links that all lead somewhere, and the numbers of the live pages."""

import asyncio
import functools
import html
import http.server
import json
import re
import threading
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import convlens
from convlens.explorer.static_site import StaticSite
from support.browser import collect_errors
from support.explorers import run, save_photos, small_model

pytest_plugins = ("support.browser", "support.command_line")


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            is_link = name in ("href", "src", "action") or name in ("data-fields", "data-stream")
            if is_link and value and not value.startswith(("data:", "#")):
                self.links.append(value)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    photos = save_photos(tmp_path_factory.mktemp("photos"))
    folder = tmp_path_factory.mktemp("site") / "out"
    messages, progress = [], []
    page = convlens.export_explorer(
        small_model(), folder, photos, labels={"cat.png": (0,)}, channels=2,
        notify=messages.append, progress=lambda *done: progress.append(done),
    )  # fmt: skip
    assert page == folder / "index.html"
    return folder, photos, messages, progress


def test_every_link_leads_to_a_file(exported):
    folder, *_ = exported
    pages = list(folder.rglob("index.html"))
    assert len(pages) > 20
    for page in pages:
        links = Links(page.read_text("utf-8")).links
        assert any("explorer-" in link for link in links)
        for link in links:
            assert not link.startswith("/"), (page, link)
            target = (page.parent / unquote(urlsplit(link).path)).resolve()
            assert folder.resolve() in (target, *target.parents)
            assert target.is_file(), (page, link)  # a browser lists a folder that is no server's


def test_pages_have_the_numbers_of_the_live_ones(exported):
    folder, photos, *_ = exported
    live = run(small_model(), photos)
    key = live.keys[0]
    for address, path in (
        ("/", "."), (f"/photo/{key}", f"photo/{key}"), ("/layer/2%2Fadd", "layer/2/add"),
        (f"/photo/{key}?overlay=gradcam&class=2", f"photo/{key}/class=2_overlay=gradcam"),
        ("/layer/0?view=patches", "layer/0/view=patches"), ("/class/1", "class/1"),
    ):  # fmt: skip
        numbers = re.findall(r'<data value="[^"]+"', live.get(address))
        text = (folder / path / "index.html").read_text("utf-8")
        assert re.findall(r'<data value="[^"]+"', text) == numbers
        assert len(numbers) > 1
    channels = [path.name for path in (folder / "channel" / "2" / "add").iterdir()]
    assert len(channels) == 2
    for channel in channels:
        numbers = re.findall(r'<data value="[^"]+"', live.get(f"/channel/2%2Fadd/{channel}"))
        text = (folder / "channel" / "2" / "add" / channel / "index.html").read_text("utf-8")
        assert re.findall(r'<data value="[^"]+"', text) == numbers
    live.session.worker.close()


def test_what_needs_a_server_is_left_out(exported):
    folder, *_ = exported
    texts = [page.read_text("utf-8") for page in folder.rglob("index.html")]
    for part in (
        "data-stream", "<form", "data-upload", "data-pin", "/kernel/", "overlay-shift",
        "overlay-dream", "pins the unit", "order-fired",
    ):  # fmt: skip
        assert not any(part in text for text in texts), part
    script = (folder / "assets" / "site.js").read_text("utf-8")
    names = json.loads(script.removeprefix("globalThis.exportedSite = ").strip("; \n"))["search"]
    assert ["2/add", "layer/2/add/index.html"] in names["layers"]
    assert len(names["channel_pages"]) == 6
    layers = [name.rpartition(":")[0] for name, _ in names["channel_pages"]]
    assert sorted(layers) == ["0", "0", "2.conv", "2.conv", "2/add", "2/add"]


def test_a_channel_has_the_command_and_the_evidence_of_its_own(exported):
    folder, photos, *_ = exported
    channels = sorted(path.name for path in (folder / "channel" / "0").iterdir())
    assert len(channels) == 2
    for channel in channels:
        show = {"0": [int(channel)]}
        text = html.unescape((folder / f"channel/0/{channel}/index.html").read_text("utf-8"))
        assert f"layers=['0'], top=9, show={show})" in text
        check = convlens.patches(small_model(), photos, layers=["0"], show=show)["0"].crop_check
        assert check.checked > 2
        assert f"Evidence: {check.summary()}." in text


def test_progress_is_reported_for_each_layer_and_page(exported):
    folder, *_, progress = exported
    pages = len(list(folder.rglob("index.html")))
    assert progress == [
        *[("channels", done, 3) for done in (1, 2, 3)],
        *[("pages", done, pages) for done in range(1, pages + 1)],
    ]


def test_the_page_of_the_errors_has_its_numbers_and_its_table(exported):
    folder, *_ = exported
    text = (folder / "errors" / "index.html").read_text("utf-8")
    answer = convlens.predict(small_model(), exported[1][0]).classes[0, 0]
    assert f'Right: <data value="{int(answer == 0)}">' in text
    assert 'href="../labels.csv"' in text
    assert "cat.png,tabby" in (folder / "labels.csv").read_text("utf-8")


def test_an_earlier_export_is_replaced_and_other_files_are_not(tmp_path):
    photos = save_photos(tmp_path)
    out = tmp_path / "out"
    for _ in range(2):
        convlens.export_explorer(small_model(), out, photos[:1], channels=0)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(convlens.ConvlensError, match=r"notes\.txt"):
        convlens.export_explorer(small_model(), out, photos[:1], channels=0)
    with pytest.raises(convlens.ConvlensError, match="-1 channels"):
        convlens.export_explorer(small_model(), tmp_path / "x", photos[:1], channels=-1)


def test_it_runs_where_an_event_loop_runs_as_in_notebooks(tmp_path):
    async def call():
        return convlens.export_explorer(small_model(), tmp_path / "site", [], channels=0)

    assert asyncio.run(call()).is_file()


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("/layer/a%2Fb", "../../layer/a/b/index.html"),
        ("/layer/a%2Fb?photo=1", "../../layer/a/b/index.html"),
        ("/layer/a%2Fb?photo=2", "../../layer/a/b/index.html"),
        ("/layer/a%2Fb?order=fired", None),
        ("/photo/2?layer=a%2Fb", "../../layer/a/b/index.html"),
        ("/photo/2?overlay=gradcam&class=4&layer=a%2Fb", "../../layer/a/b/index.html"),
        ("/photo/2?overlay=map&layer=a%2Fb&channel=1", None),
        ("/photo/2?layer=a%2Fb&at=1%2C2", "../../photo/2/index.html"),
        (
            "/photo/2?class=3&overlay=gradcam",
            "../../photo/2/class%3D3_overlay%3Dgradcam/index.html",
        ),
        ("/photo/2?overlay=gradcam&class=4", None),
        ("/channel/c/3", "index.html"),
        ("/kernel/c/3", None),
        ("/assets/a.js", "../../assets/a.js"),
    ],
)
def test_links_are_relative(link, target):
    site = StaticSite(
        ["/", "/layer/a%2Fb", "/photo/2", "/photo/2?overlay=gradcam&class=3", "/channel/c/3"],
        first_photo="1",
    )  # fmt: skip
    address = "/channel/c/3" if link == "/channel/c/3" else "/class/3"
    text = site.rewrite(f'<a id="x" href="{html.escape(link)}">', address)
    assert text == ('<a id="x">' if target is None else f'<a id="x" href="{target}">')


@pytest.fixture(params=["a disk", "a web server"])
def home(request, exported):
    """The address of the exported pages, whose folder a plain web server hosts, or none."""
    folder, *_ = exported
    if request.param == "a disk":
        yield f"{folder.as_uri()}/"
        return
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/out/"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_hover_search_and_navigation_work_without_our_server(home, browser):
    page = browser.new_page()
    errors = collect_errors(page)
    page.goto(f"{home}index.html")
    page.locator(".photo-tiles a").first.click()
    page.wait_for_selector("#photo-frame")
    page.hover("#photo-frame", position={"x": 40, "y": 30})
    page.wait_for_function("document.querySelector('.pointed').textContent.includes('sees rows')")
    page.locator("#photo-frame").click(position={"x": 40, "y": 30})
    page.click("#overlay-epsilon")
    page.wait_for_selector("#epsilon")
    page.wait_for_function("document.querySelector('output').textContent !== ''")
    page.focus("#epsilon")
    page.keyboard.press("ArrowRight")
    assert page.locator("output").inner_text().startswith("1/255")
    page.fill("#search", "2/add:")
    page.wait_for_selector("#found li")
    page.keyboard.press("Enter")
    page.wait_for_selector("#patches")
    assert page.url.startswith(urljoin(home, "channel/2/add/"))
    page.go_back()
    page.wait_for_selector("#epsilon")
    page.click("text=convolution")
    page.wait_for_selector("#convolution .result button")
    page.fill("#convolution [aria-label='image 2,2']", "10")
    page.locator("#convolution .result button").last.click()
    assert page.locator("#convolution .sum").inner_text().endswith("= −5")
    assert errors == []
    page.close()


def test_the_command_writes_the_pages(here, convlens):
    words = ("explore", "a.png", "--export", "site", "--model", "python:mine.py:tiny")
    status, out, error = convlens(*words, "--channels", 1)
    assert (status, out.strip()) == (0, "site/index.html"), error
    assert "pages: about" in error
    assert len(list((here / "site" / "channel" / "0").iterdir())) == 1
    assert "--overwrite" in convlens(*words)[2]
    assert "--export and --with" in convlens(*words, "--overwrite", "--with", "default")[2]
