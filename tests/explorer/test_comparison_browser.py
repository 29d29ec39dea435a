"""Two models side by side in a browser: one frame follows the other, also its pointer."""

import pytest

import convlens
from support.browser import collect_errors
from support.explorers import FIELDS_ARE_DRAWN, other_model, save_photos, small_model

pytest_plugins = ("support.browser",)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    photos = save_photos(tmp_path_factory.mktemp("photos"), 6)
    running = convlens.explore(small_model(), photos, compare_with=other_model(), port=0)
    yield running
    running.stop()


@pytest.fixture
def page(browser, explorer):
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    errors = collect_errors(opened)
    opened.goto(explorer.url)
    opened.click("text=other net")
    opened.wait_for_url("**/?with=other-net")
    yield opened
    opened.close()
    assert errors == []


def frames_of(page):
    page.frame_locator("iframe").nth(1).locator("h1").wait_for()
    return page.frames[1], page.frames[2]


def address_of(frame):
    return frame.evaluate("location.pathname + location.search")


def open_photo(page):
    first, second = frames_of(page)
    first.locator(".photo-tiles a").first.click()
    for frame in (first, second):
        frame.wait_for_selector("#photo-frame")
    return first, second


def test_what_is_opened_in_one_frame_is_opened_in_the_other(page):
    first, second = open_photo(page)
    assert address_of(second) == "/with/other-net" + address_of(first)
    assert "with=other-net" in page.url
    second.click("#overlay-map")
    first.wait_for_selector("#overlay-map[aria-current]")
    assert page.url.endswith("overlay=map&with=other-net")
    page.go_back()
    for frame in (first, second):
        frame.wait_for_selector("#overlay-fields[aria-current]")
    page.reload()
    for frame in frames_of(page):
        frame.wait_for_selector("#overlay-fields[aria-current]")


def test_classes_are_paired_by_name(page):
    first, second = open_photo(page)
    link = first.locator(".inspector .answers a").first
    name, index = link.inner_text(), link.get_attribute("id").removeprefix("class-")
    link.click()
    second.wait_for_selector(".with-bar .bar")
    assert f"class={3 - int(index)}" in address_of(second)
    assert second.locator(f"#class-{3 - int(index)}").inner_text() == name
    assert second.locator(f"#class-{3 - int(index)}").get_attribute("aria-current") == "true"


def test_the_pointer_and_a_click_are_those_of_both(page):
    first, second = open_photo(page)
    first.hover("#photo-frame", position={"x": 40, "y": 30})
    for frame in (first, second):
        frame.wait_for_function(FIELDS_ARE_DRAWN)
    lines = [frame.locator(".pointed").inner_text() for frame in (first, second)]
    assert lines[0] == lines[1]
    assert "sees rows" in lines[0]
    first.locator("#photo-frame").click(position={"x": 100, "y": 60})
    for frame in (first, second):
        frame.wait_for_selector("text=unpin")


def test_the_similarity_offered_is_that_of_the_layer_that_is_open(page):
    first, _ = frames_of(page)
    page.wait_for_selector(".similarity >> text=the layers of both networks")
    first.click("[data-layer='2/add']")
    page.wait_for_selector(".similarity >> text=2/add")
    page.click(".similarity button.start")
    page.wait_for_selector(".similarity table")
    values = page.locator(".similarity tbody td:nth-child(3)").all_inner_texts()
    assert len(values) == 3
    assert values == sorted(values, reverse=True)


def test_the_answers_of_both_are_counted(page):
    page.wait_for_selector(".answers-of-both .reproduce")
    assert "of 6 answers differ" in page.locator(".answers-of-both").inner_text()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    frames_of(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
