"""Pictures with white at zero, which a dark document turns to black at zero."""

import io
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from convlens.drawing import diverging_colors
from convlens.drawing.boards import Board
from convlens.drawing.figures import Panel, Scale, picture_figure
from convlens.html.figures import inline_svg
from convlens.html.templates import stylesheet

pytest_plugins = "support.browser"

SVG = "{http://www.w3.org/2000/svg}"
WEIGHTS = torch.tensor([[-1.0, 0.0], [0.5, 1.0]])


def signed_elements(figure):
    root = ElementTree.fromstring(str(inline_svg(figure, "weights", "weights")))
    return root, [element for element in root.iter() if element.get("class") == "signed"]


def test_a_signed_picture_beside_a_photo_is_marked_alone():
    board = Board(8, 3)
    board.picture(torch.zeros(4, 4, 3, dtype=torch.uint8), 0, 0, 2, 2)
    board.picture(diverging_colors(WEIGHTS, 1.0), 3, 0, 2, 2, signed=True)
    root, marked = signed_elements(board.figure)
    assert len(list(root.iter(f"{SVG}image"))) == 2
    assert [element.tag for element in marked] == [f"{SVG}image"]


def test_signed_cells_are_marked_with_their_numbers():
    board = Board(8, 3)
    board.grid(WEIGHTS, 0, 0, colors=diverging_colors(WEIGHTS, 1.0), signed=True)
    board.grid(WEIGHTS, 4, 0)
    _, marked = signed_elements(board.figure)
    texts = ["".join(element.itertext()).strip() for element in marked]
    assert sorted(filter(None, texts)) == ["0", "0.5", "1", "−1"]
    assert len(marked) == 8  # four cells, four numbers


def test_panels_and_their_bar_are_marked_and_the_photo_beside_them_is_not():
    photo = Panel(torch.zeros(4, 4, 3, dtype=torch.uint8), "image")
    weights = Panel(diverging_colors(WEIGHTS, 1.0), "weights", signed=True)
    scale = Scale("diverging", -1, 1, "weight")
    root, marked = signed_elements(picture_figure([[photo, weights]], scale=scale))
    assert len(list(root.iter(f"{SVG}image"))) == 3
    assert len(marked) == 2 and {element.tag for element in marked} == {f"{SVG}image"}
    scale = Scale("sequential", 0, 1, "activation")
    assert signed_elements(picture_figure([[photo]], scale=scale))[1] == []


@pytest.mark.slow
def test_zero_is_black_in_the_dark(browser):
    board = Board(2, 2)
    board.picture(torch.full((2, 2, 3), 255, dtype=torch.uint8), 0, 0, 2, 2, signed=True)
    body = f"<style>{stylesheet()}</style><body>{inline_svg(board.figure, 'zero', 'zero')}"
    for scheme, level in (("light", 255), ("dark", 0)):
        page = browser.new_page(color_scheme=scheme)
        page.set_content(body)
        box = page.locator("svg").bounding_box()
        middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        pixels = screenshot_pixels(page.screenshot(clip={**middle, "width": 1, "height": 1}))
        assert (pixels - level).abs().max() <= 3
        page.close()


def screenshot_pixels(png: bytes) -> torch.Tensor:
    return torch.tensor(list(Image.open(io.BytesIO(png)).convert("RGB").tobytes()))
