"""The page in a browser: its looks, its keys and buttons, and without scripts."""

import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from support.pages import COMMAND

pytest_plugins = "support.pages"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium; apt-get install chromium")
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(browser, demo) -> Iterator[Any]:
    """Opens the page; at the end nothing may have been requested or said on the console."""
    contexts, asked, messages = [], [], []

    def open_page(width: int = 1280, address: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 844}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(demo.page.as_uri() + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {url.partition("#")[0] for url in asked if not url.startswith("data:")} == {
        demo.page.as_uri()
    }
    assert messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_and_pictures_load(visit, demo, width, scheme):
    page = visit(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    loaded = page.evaluate("[...document.querySelectorAll('main img')].map(i => i.naturalWidth)")
    strips = demo.sections["channels"].addresses
    bands = [
        len(entry.bands) > 0
        for layer in demo.sections["channels"].patches.layers
        for entry in layer.shown
    ]
    channels = 3 * len(strips) + sum(bands)
    slides = 3 * (5 + 2)
    plain = 8 * 5 + 32 + 6 + 2 + len(demo.sections["feature_maps"].layers)
    plain += len(demo.sections["effective_field"].layers)
    assert len(loaded) == plain + channels + slides + 1 and min(loaded) > 0
    assert page.evaluate(CONTRASTS) >= 4.5
    # Nothing but tables, code and the navigation is wider than the window.
    assert page.evaluate(OVERFLOWING, width) == []


CONTRASTS = """() => {
  const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const parse = (css) => {
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = css; probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  let least = 21;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility() || element.closest("script, .unseen")) continue;
    let ground = element;
    while (ground && parse(getComputedStyle(ground).backgroundColor)[3] === 0) {
      ground = ground.parentElement;
    }
    const colors = [getComputedStyle(element).color,
                     getComputedStyle(ground ?? document.documentElement).backgroundColor];
    const [a, b] = colors.map((css) => light(parse(css))).sort((x, y) => y - x);
    least = Math.min(least, (a + .05) / (b + .05));
  }
  return least;
}"""

OVERFLOWING = """(width) => [...document.querySelectorAll("body *")]
  .filter((e) => e.getBoundingClientRect().right > width + 1 && e.checkVisibility()
    && !e.closest(".table, .unseen, nav"))
  .map((e) => e.outerHTML.slice(0, 80))"""


def test_keyboard_reaches_the_copy_buttons(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    classes = []
    for _ in range(60):
        page.keyboard.press("Tab")
        classes.append(page.evaluate("document.activeElement.className"))
    assert any("copy" in name for name in classes)
    assert any("zoom" in name for name in classes)


def test_copy_button_copies_the_command(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".command .copy").click()
    page.wait_for_function("document.querySelector('.command .copy').innerText === 'copied'")
    assert page.evaluate("navigator.clipboard.readText()") == COMMAND


def test_slider_goes_through_the_epsilons(visit):
    page = visit()
    slides = page.locator(".slides").first
    frames = slides.locator(".slide")
    shown = lambda: [frames.nth(at).is_visible() for at in range(5)]  # noqa: E731
    assert shown() == [False, True, False, False, False]
    slides.locator("input[type=range]").press("End")
    assert shown() == [False, False, False, False, True]
    assert slides.locator("input").get_attribute("aria-valuetext") == "8/255"


def test_maps_give_way_to_the_photo(visit):
    page = visit()
    picture = page.locator("#photo-3 .map img").first
    drawn, plain = picture.get_attribute("src"), page.locator("#photo-3-plain").get_attribute("src")
    picture.click()
    assert picture.get_attribute("src") == plain != drawn
    picture.press("Enter")
    assert picture.get_attribute("src") == drawn
    page.keyboard.press("p")
    assert page.locator("#photo-5 .map img").last.get_attribute("aria-pressed") == "true"
    page.keyboard.press("p")
    assert picture.get_attribute("src") == drawn


def test_pictures_are_enlarged_and_escape_closes(visit):
    page = visit()
    page.locator("#photo-2 .flip .zoom").click()
    zoom = page.locator("#zoom")
    assert zoom.is_visible()
    shown, words = zoom.locator("img").get_attribute("src"), zoom.locator("p").inner_text()
    assert shown == page.locator("#photo-2 .flip > img").get_attribute("src")
    assert re.search(r"Enlarged \d times", words)
    page.keyboard.press("ArrowRight")
    assert zoom.locator("img").get_attribute("src") != shown
    page.keyboard.press("Escape")
    assert not zoom.is_visible()


def test_addresses_are_scrolled_to_and_highlighted(visit):
    page = visit(address="#photo-3")
    assert abs(page.locator("#photo-3").bounding_box()["y"]) < 100
    color = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert page.evaluate(color.format("#photo-3 > h3")) != page.evaluate(
        color.format("#photo-4 > h3")
    )
    page.locator("#finding-2 a.self").click()
    page.go_back()
    assert page.url.endswith("#photo-3")


def test_page_is_complete_without_scripts(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#photo-8 .flip img").is_visible()
    assert page.locator("button:visible").count() == 0
    assert page.locator(".slide:visible").count() == 15
    assert page.locator("input:visible").count() == 0
    page.locator("#photo-1 .map noscript summary").first.click()
    assert page.locator("#photo-1 .map pre").first.inner_text().startswith("convlens gradcam")
