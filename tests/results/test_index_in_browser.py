"""The index of a folder in a browser: its pictures load from the folder, and it fits a phone."""

from dataclasses import dataclass

import pytest
import torch

from convlens.results import Result

pytest_plugins = "support.browser"


@dataclass(frozen=True, eq=False)
class Pictures(Result):
    """Two pictures, one of them wider than a phone."""

    layer: str

    def pictures(self):
        return {
            "50% #2 <b>": torch.full((60, 40, 3), 90, dtype=torch.uint8),
            "wide": torch.zeros(100, 900, dtype=torch.uint8),
        }


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
def test_pictures_load_and_fit(browser, tmp_path, width):
    Pictures("layer4").save(tmp_path / "results", photo="a cat.png", command="x" * 500)
    messages: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.on("console", lambda message: messages.append(message.text))
    page.goto((tmp_path / "results" / "index.html").as_uri(), wait_until="networkidle")
    loaded = page.evaluate("[...document.querySelectorAll('main img')].map(i => i.naturalWidth)")
    assert loaded == [40, 900]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    assert messages == []


@dataclass(frozen=True, eq=False)
class NarrowPictures(Result):
    """Three pictures, two of them narrower than a caption may be."""

    layer: str

    def pictures(self):
        return {
            name: torch.zeros(100, width, 3, dtype=torch.uint8)
            for name, width in (("first", 120), ("second", 300), ("third", 120))
        }


@pytest.mark.slow
def test_pictures_stand_in_one_row_where_there_is_room(browser, tmp_path):
    NarrowPictures("layer4").save(tmp_path / "results")
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto((tmp_path / "results" / "index.html").as_uri(), wait_until="networkidle")
    boxes = [figure.bounding_box() for figure in page.locator(".pictures figure").all()]
    assert len({box["y"] for box in boxes}) == 1
    page.close()
