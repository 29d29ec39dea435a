"""Cards of images that are wider than high: the color bar is as high as the map."""

import pytest
from PIL import Image

import convlens
from convlens.page import sections
from convlens.page.report import report
from support.pages import tiny

pytest_plugins = ("support.browser", "support.pages")


@pytest.mark.slow
def test_the_caption_of_a_wide_map_follows_it(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "SECTIONS", ("photos",))
    Image.effect_noise((64, 32), 80).convert("RGB").save(tmp_path / "wide.png")
    model = convlens.wrap(tiny().network, size=(32, 64))
    written = report(model, [tmp_path / "wide.png"], out=tmp_path / "page")
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(written.page.as_uri())
    picture, caption = (
        page.locator(f"#photo-1-map {selector}").first.bounding_box()
        for selector in (".way img", "figcaption")
    )
    assert picture["width"] == 2 * picture["height"]
    assert 0 < caption["y"] - picture["y"] - picture["height"] < 30
    page.close()
