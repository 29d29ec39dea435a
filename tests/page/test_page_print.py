"""The page in print: cards with their details, two on a sheet, and nothing beyond the margin."""

from itertools import pairwise

import pytest

pytest_plugins = ("support.browser", "support.pages")

WIDTH, HEIGHT = 718, 1047  # CSS pixels of a sheet of A4 within margins of 1 cm


@pytest.mark.slow
def test_cards_print_with_their_details_two_on_a_sheet(browser, demo):
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(demo.page.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    heights = page.evaluate(
        "[...document.querySelectorAll('.card')].map((card) => card.getBoundingClientRect().height)"
    )
    assert sum(heights) / len(heights) <= HEIGHT / 2 and max(heights) <= 0.55 * HEIGHT
    boxes = [
        page.locator(f"#photo-1 {part}").first.bounding_box()
        for part in (".sums", ".checks", ".flip", ".change")
    ]
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"] and left["y"] == right["y"]
    other = page.locator("#photo-1 .other-maps").bounding_box()
    pair = page.locator("#photo-1 .pair .map").bounding_box()
    assert other["x"] >= pair["x"] + pair["width"] and other["y"] + other["height"] <= boxes[0]["y"]
    page.close()
