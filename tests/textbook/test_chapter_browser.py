"""The page of the chapter in a browser: its links, and where its texts stand."""

import pytest

import convlens
from convlens.textbook import chapter as module
from convlens.textbook.notions import NOTIONS

pytest_plugins = "support.browser"


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        few = [notion for notion in NOTIONS if notion.name in ("convolution", "stride", "channels")]
        patch.setattr(module, "NOTIONS", few)
        return convlens.chapter(out=tmp_path_factory.mktemp("chapter") / "page").page


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
def test_links_are_large_enough_and_the_text_stands_beside_its_figure(browser, page_path, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(page_path.as_uri())
    links = page.locator("nav a")
    boxes = [link.bounding_box() for link in links.all()]
    assert min(box["height"] for box in boxes) >= 24  # WCAG 2.2, target size
    assert links.first.inner_text() == "10.2.2 Translation equivariance"
    text, figure = (
        page.locator(f"#stride {name}").first.bounding_box() for name in (".text", ".drawn")
    )
    if width == 1440:
        assert text["x"] + text["width"] < figure["x"] < text["x"] + text["width"] + 60
    else:
        assert text["y"] > figure["y"] + figure["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
