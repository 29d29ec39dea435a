"""The explorer in a browser: pointer, clicks, keys, history, search, uploads, and no other host."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import convlens
from convlens.data.images import to_pixels
from support.browser import collect_errors
from support.explorers import FIELDS_ARE_DRAWN, save_photos, small_model

pytest_plugins = ("support.browser", "support.explorers")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return save_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def running(photos):
    wrong = int(convlens.predict(small_model(), photos[0]).classes[0, 1])
    explorer = convlens.explore(small_model(), photos, labels={"cat.png": (wrong,)}, port=0)
    yield explorer
    explorer.stop()


@pytest.fixture
def visit(browser, running) -> Iterator[Any]:
    """Opens the explorer; nothing may be said on the console or be asked of another host."""
    contexts, messages, asked = [], [], []

    def open_page(width: int = 1440, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.requested = []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("request", lambda request: asked.append(request.url))
        collect_errors(page, messages)
        page.goto(running.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    home = f"http://127.0.0.1:{running.port}/"
    assert [url for url in asked if not url.startswith((home, "data:"))] == []
    # Of the file that is no photo, and of the browser that has lost its cookie.
    refused = re.compile("status of (422|403)")
    assert [message for message in messages if not refused.search(message)] == []


def open_photo(page):
    page.locator(".photo-tiles a").first.click()
    page.wait_for_selector("#photo-frame")
    page.wait_for_load_state("networkidle")


def test_the_pointer_draws_fields_and_asks_for_nothing(visit):
    page = visit()
    open_photo(page)
    page.requested.clear()
    assert not page.evaluate(FIELDS_ARE_DRAWN)
    page.hover("#photo-frame", position={"x": 40, "y": 30})
    page.wait_for_function(FIELDS_ARE_DRAWN)
    line = page.locator(".pointed").inner_text()
    layer, row, column = re.match(r"(\S+) at (\d+),(\d+) sees", line).groups()
    model = small_model()
    image, at = torch.zeros(1, 3, 16, 16), (int(row), int(column))
    box = convlens.receptive_field(model, image, layer=layer, at=at).box
    assert f"rows {box[0]} to {box[1]}, columns {box[2]} to {box[3]}" in line
    assert page.requested == []


def test_the_choice_of_a_photo_is_shown_at_once(visit):
    page = visit()
    page.locator("nav[aria-label=Layers] a").first.click()
    chosen = page.locator("select[name=photo]")
    second = chosen.locator("option").nth(1).get_attribute("value")
    assert chosen.input_value() != second
    page.evaluate("window.kept = true")
    chosen.select_option(second)
    page.wait_for_url(f"**photo={second}*")
    page.wait_for_function("document.querySelector('#main').getAttribute('aria-busy') === null")
    assert page.locator("select[name=photo]").input_value() == second
    assert page.evaluate("window.kept")  # only `main` was replaced


def test_a_click_pins_a_unit_and_the_address_brings_it_back(visit):
    page = visit()
    open_photo(page)
    page.locator("#photo-frame").click(position={"x": 100, "y": 60})
    page.wait_for_selector("text=unpin")
    pinned = page.url
    summary = page.locator(".inspector figcaption").inner_text()
    page.click("#overlay-gradcam")
    page.wait_for_selector(".with-bar .bar")
    page.go_back()
    page.wait_for_selector("#overlay-fields[aria-current]")
    assert page.url == pinned
    other = page.context.new_page()
    other.goto(pinned)
    assert other.locator(".inspector figcaption").inner_text() == summary


def test_a_unit_is_pinned_by_keyboard_alone(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator(".photo-tiles a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#photo-frame")
    page.focus("#photo-frame")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_function(FIELDS_ARE_DRAWN)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=unpin")
    assert "at=" in page.url


COMPOSED = """() => {
  const canvas = document.querySelector("canvas.composed");
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
}"""


def test_the_epsilon_slider_shows_the_image_of_the_library_and_asks_for_nothing(visit, photos):
    page = visit()
    open_photo(page)
    page.click("#overlay-epsilon")
    page.wait_for_selector("#epsilon")
    page.wait_for_function("document.querySelector('output').textContent !== ''")
    page.requested.clear()
    page.focus("#epsilon")
    for _ in range(5):
        page.keyboard.press("ArrowRight")  # 0, 1, 2, 3, 4, 6
    model, path = small_model(), photos[0]
    attack = convlens.fgsm(model, path, "6/255")
    composed = torch.tensor(page.evaluate(COMPOSED)).view(16, 16, 4)[..., :3]
    assert torch.equal(composed, to_pixels(attack.adversarial(0), model.bounds)[0].long())
    assert page.locator("output").inner_text().startswith("6/255: ")
    assert page.url.endswith("overlay=epsilon&level=6")
    assert page.requested == []


def test_a_dragged_photo_is_shifted(visit):
    page = visit()
    open_photo(page)
    page.click("#overlay-shift")
    page.wait_for_selector("#shift")
    box = page.locator("#photo-frame img").bounding_box()
    scale = box["width"] / 16
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 100 + 3 * scale, box["y"] + 100 - 2 * scale, steps=4)
    page.mouse.up()
    page.wait_for_url("**/photo/*?overlay=shift&shift=-2%2C3")
    assert page.locator("#shift input[name=right]").input_value() == "3"


def test_a_map_position_is_chosen_by_keys(visit):
    page = visit()
    page.goto(f"{page.url}kernel/0/2?at=3,5")
    page.focus("#positions")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=0:2@4,5")


def test_a_maximized_image_arrives(visit):
    page = visit()
    page.goto(f"{page.url}channel/0/2")
    page.wait_for_selector("[data-stream] img")
    assert "reaches" in page.locator("[data-stream] figcaption").inner_text()


def test_all_findings_arrive_on_the_start_page(visit):
    page = visit()
    page.wait_for_selector(".finding .running", state="detached")
    parts = page.locator(".finding .parts > *").all_inner_texts()
    assert len(parts) == 4
    assert "predictions" in parts[1]


def test_causes_of_errors_are_computed_at_a_click(visit):
    page = visit()
    page.click("text=errors")
    page.wait_for_selector(".chart")
    assert page.locator(".photo-tiles li").count() == 1
    page.click("button.start")
    page.wait_for_selector(".causes")
    page.locator(".explained-errors a", has_text="cat.png").click()
    page.wait_for_selector("#photo-frame")
    page.go_back()
    page.wait_for_selector(".chart")


def test_the_search_leads_to_a_class_and_a_photo(visit):
    page = visit()
    page.fill("#search", "cat.png")
    page.wait_for_selector("#found li")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#photo-frame")
    assert page.locator("h1").inner_text() == "cat.png"


def test_a_photo_that_is_chosen_gets_a_page_and_another_file_a_sentence(visit, tmp_path):
    page = visit()
    (path, _) = save_photos(tmp_path)
    path.write_bytes(path.read_bytes() + b"other content")
    page.set_input_files("#upload", path)
    page.wait_for_selector("#photo-frame")
    page.goto(page.url.partition("photo")[0])
    (tmp_path / "text.png").write_text("no photo")
    page.set_input_files("#upload", tmp_path / "text.png")
    page.wait_for_selector(".drop .failure:not([hidden])")
    assert "not an image" in page.locator(".drop .failure").inner_text()


def test_a_refusal_is_reported_in_the_status_line_and_the_page_stays(visit):
    page = visit()
    page.context.clear_cookies()
    page.locator(".photo-tiles a").first.click()
    page.wait_for_function("document.getElementById('status').textContent.includes('not known')")
    assert page.locator("h1").inner_text() == "Photos"
    assert page.locator("main[aria-busy]").count() == 0
    assert "/photo/" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1000, 1440])
def test_pages_fit_the_window(visit, width, scheme):
    page = visit(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    open_photo(page)
    page.click("#overlay-gradcam")
    page.wait_for_selector(".with-bar .bar")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
