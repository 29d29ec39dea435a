"""An open card of a photo uses the width of the page."""

import pytest

pytest_plugins = ("support.browser", "support.pages")


@pytest.mark.slow
def test_maps_and_changed_photos_stand_to_the_right_of_the_map(browser, demo):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(demo.page.as_uri() + "#photo-1")
    box = {
        name: page.locator(f"#photo-1 {selector}").first.bounding_box()
        for name, selector in (
            ("map", ".pair .map"), ("other", ".other-maps .map"), ("change", ".change"),
            ("numbers", ".sums"), ("fold", "summary"),
        )
    }  # fmt: skip
    assert box["other"]["x"] > box["map"]["x"] + box["map"]["width"]
    assert abs(box["other"]["y"] - box["map"]["y"]) < 8
    assert box["change"]["x"] > box["other"]["x"]
    assert box["numbers"]["x"] < box["map"]["x"] and box["numbers"]["y"] > box["fold"]["y"]
    before = box["fold"]["y"] - page.locator("#photo-1").bounding_box()["y"]
    page.locator("#photo-1 summary").click()
    assert not page.locator("#photo-1 .change").is_visible()
    after = page.locator("#photo-1 summary").bounding_box()["y"]
    assert abs(after - page.locator("#photo-1").bounding_box()["y"] - before) < 8
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [700, 1000, 1200])
def test_numbers_stand_to_the_right_of_the_photo_and_its_map(browser, demo, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(demo.page.as_uri() + "#photo-1")
    box = {
        name: page.locator(f"#photo-1 {selector}").first.bounding_box()
        for name, selector in (
            ("map", ".pair .map"), ("numbers", ".sums"), ("fold", "summary"),
            ("other", ".other-maps .map"), ("change", ".change"),
        )
    }  # fmt: skip
    assert box["numbers"]["x"] > box["map"]["x"] + box["map"]["width"]
    assert abs(box["numbers"]["y"] - box["map"]["y"]) < 8
    assert box["other"]["y"] > box["fold"]["y"] and box["change"]["y"] > box["fold"]["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 690])
def test_on_narrow_screens_all_stands_below(browser, demo, width):
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(demo.page.as_uri() + "#photo-1")
    fold, numbers, other = (
        page.locator(f"#photo-1 {selector}").first.bounding_box()
        for selector in ("summary", ".sums", ".other-maps .map")
    )
    assert other["y"] > fold["y"] and numbers["y"] > fold["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.slow
def test_five_tiles_that_do_not_fit_in_a_row_are_three_and_two(browser, demo):
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(demo.page.as_uri())
    tiles = [tile.bounding_box() for tile in page.locator(".summary > .tile").all()]
    assert [tile["y"] == tiles[0]["y"] for tile in tiles] == [True] * 3 + [False] * 2
    ends = {round(tile["x"] + tile["width"]) for tile in (tiles[2], tiles[4])}
    assert len(ends) == 1  # both rows fill the width
    page.close()
