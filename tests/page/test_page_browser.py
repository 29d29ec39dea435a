"""The page in a browser: its looks, its keys and buttons, and without scripts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.pages import COMMAND

pytest_plugins = ("support.browser", "support.pages")


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
    assert min(loaded) > 0
    count = "document.querySelectorAll('{} img').length"
    ways = 2 * 2 * 2  # scale, sign, side of the non-linearity
    addresses = set(demo.sections["channels"].addresses)
    shares = [
        share for card in demo.sections["photos"].cards for each in card.shares for share in each
    ]
    patches = sum(share.address in addresses for share in shares)
    assert page.evaluate(count.format("#photos")) == 8 * (1 + 2 * ways + 2 + 2) + patches
    assert page.evaluate(count.format(".strip")) == 2 * 8
    # Units of the last layer see the whole image, so that no patches are cut out there.
    *local, whole = demo.sections["channels"].patches.layers
    strips = [entry for layer in local for entry in layer.shown if entry.photos]
    assert len(strips) > 44  # of 48; a channel that never fires has no row
    bands = sum(len(entry.bands) > 0 for entry in strips)
    classes = len(demo.sections["class_images"].maxima)
    assert page.evaluate(count.format(".strips")) == 3 * len(strips) + bands
    assert page.evaluate(count.format(".summarized")) == len(whole.shown)
    assert page.evaluate(count.format("#channels")) >= 3 * len(strips) + bands + classes
    assert page.evaluate(count.format("#robustness")) == 3 * (5 + 2)
    assert page.evaluate(CONTRASTS) >= 4.5
    # Nothing is wider than the window but what scrolls in a box of its own.
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
    && !e.closest(".table, .scroll, .strip, .attacked, .unseen, nav"))
  .map((e) => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize(
    ("width", "most"), [(390, 21_000), (900, 11_500), (1100, 11_500), (1440, 10_000)]
)
def test_the_page_is_not_too_high(visit, width, most):
    page = visit(width)
    assert page.evaluate("document.documentElement.scrollHeight") <= most


def test_keyboard_reaches_the_copy_buttons(visit):
    page = visit(address="#photo-8-flip")
    page.evaluate("document.querySelector('.skip').focus()")
    classes = []
    for _ in range(90):
        page.keyboard.press("Tab")
        classes.append(page.evaluate("document.activeElement.className"))
    assert any("copy" in name for name in classes)
    assert any("zoom" in name for name in classes)


def test_copy_button_copies_the_command(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".command .copy").click()
    page.locator(".command .copy").first.filter(has_text="copied").wait_for()
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
    page = visit(address="#photo-2-flip")
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
    assert page.locator("#photo-8 .map img:visible").count() == 1
    page.locator("#photo-8 summary").first.click()
    assert page.locator("#photo-8 .flip img").is_visible()
    assert page.locator("button:visible").count() == 0
    assert page.locator(".slide:visible").count() == 15
    assert page.locator("input[type=range]:visible").count() == 0
    page.locator("#photo-1 summary").first.click()
    page.locator("#photo-1 .checks noscript summary").first.click()
    assert page.locator("#photo-1 .checks pre").first.inner_text().startswith("convlens gradcam")


def test_maps_are_shown_in_other_ways_and_photos_filtered(visit, demo):
    page = visit(java_script_enabled=False)  # these are styles alone
    picture = page.locator("#photo-1 .pair .map img:visible")
    numbers = page.locator("#photo-1 .pair .map .bar:visible .ends")
    own, ends = picture.get_attribute("src"), numbers.inner_text()
    page.locator("input[value=shared]").check()
    scale = demo.sections["photos"].scale
    assert picture.count() == 1 and picture.get_attribute("src") != own
    assert f"+{scale:.2g}" in numbers.inner_text() != ends
    page.locator("input[value=positive]").check()
    assert "−" not in numbers.inner_text()
    page.locator("input[name=map-side][value=other]").check()
    assert picture.count() == 1
    wrong = [number for number, photo in enumerate(demo.photos, start=1) if not photo.right]
    page.locator("input[value=wrong]").check()
    shown = page.locator(".card:visible")
    assert [card.get_attribute("id") for card in shown.all()] == [f"photo-{at}" for at in wrong]


def test_an_address_opens_what_is_folded_or_filtered_away(visit):
    page = visit()
    assert not page.locator("#photo-1-flip").is_visible()
    page.locator("input[value=wrong]").check()
    page.evaluate("location.hash = '#photo-1-flip'")
    page.locator("#photo-1-flip").wait_for(state="visible")
    page.locator(".contents a[href='#channels']").click()
    page.locator(".contents a[aria-current][href='#channels']").wait_for()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_pictures_are_on_the_first_screen(visit, width, height):
    page = visit(width)
    bottoms = page.evaluate(
        "[...document.querySelectorAll('.tile img, .strip li:first-child img')]"
        ".map((image) => image.getBoundingClientRect().bottom)"
    )
    assert len(bottoms) >= 7 and max(bottoms) <= height
