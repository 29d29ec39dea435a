"""Figures of results: where pictures and text lie, what notebooks get, and what files hold."""

import io

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from convlens.drawing import Panel, Scale, grid_figure, picture_figure
from convlens.drawing.result_figure import ResultFigure
from convlens.errors import ConvlensError

GRAY = torch.full((30, 60, 3), 128, dtype=torch.uint8)
TALL = torch.full((90, 60, 3), 60, dtype=torch.uint8)


def boxes(figure):
    """Left, top, right and bottom of all axes in inches from the upper left corner."""
    width, height = figure.get_size_inches()
    return [
        (box.x0 * width, (1 - box.y1) * height, box.x1 * width, (1 - box.y0) * height)
        for box in (axes.get_position() for axes in figure.axes)
    ]


def test_pictures_keep_their_proportions_and_rows_do_not_overlap():
    figure = picture_figure([[Panel(GRAY, "a"), Panel(TALL, "b")], [Panel(GRAY, "c")]], title="t")
    first, second, third = boxes(figure)
    for (left, top, right, bottom), pixels in zip(
        (first, second, third), (GRAY, TALL, GRAY), strict=True
    ):
        high, wide = pixels.shape[:2]
        assert (bottom - top) / (right - left) == pytest.approx(high / wide)
    assert second[0] > first[2]
    assert third[1] > max(first[3], second[3])
    assert all(edge >= 0 for box in boxes(figure) for edge in box)


def test_no_text_leaves_the_figure_and_titles_do_not_overlap():
    words = "a title of a panel that is far too long for its width " * 3
    name = "blocks.4.1.some_module.with_a_very_long_dotted_name.conv_pwl"
    row = [Panel(GRAY, words), Panel(GRAY, name), Panel(GRAY, "short")]
    figure = picture_figure([row] * 2, title=words * 2, sides=[name, "second"])

    renderer = FigureCanvasAgg(figure).get_renderer()
    edges = figure.bbox
    boxes_of_text = [text.get_window_extent(renderer) for text in figure.texts]
    for axes in figure.axes:
        texts = [child for child in axes.get_children() if isinstance(child, Text)]
        boxes_of_text += [text.get_window_extent(renderer) for text in texts if text.get_text()]
    assert all(
        box.x0 >= -1 and box.y0 >= -1 and box.x1 <= edges.x1 + 1 and box.y1 <= edges.y1 + 1
        for box in boxes_of_text
    )
    for index, box in enumerate(boxes_of_text):
        others = boxes_of_text[index + 1 :]
        assert not any(box.width and other.width and box.overlaps(other) for other in others)


def test_at_most_seven_inches_wide():
    for count in (1, 2, 7, 12):
        figure = grid_figure([Panel(GRAY)] * count, count, scale=Scale("gray", -1, 1, "weight"))
        assert figure.get_size_inches()[0] <= 7.01


def test_the_color_bar_has_the_ends_and_the_label_of_the_scale():
    figure = picture_figure([[Panel(GRAY)]], scale=Scale("diverging", -2.5, 2.5, "logit"))
    _, bar = figure.axes
    assert bar.get_ylim() == (-2.5, 2.5) and bar.get_ylabel() == "logit"


def test_a_scale_without_extent_has_no_bar():
    assert len(picture_figure([[Panel(GRAY)]], scale=Scale("gray", 0, 0, "weight")).axes) == 1


def test_a_figure_without_panels_is_refused():
    with pytest.raises(ConvlensError, match="at least one panel"):
        picture_figure([])


def test_notebooks_get_a_picture_with_its_size():
    data, size = picture_figure([[Panel(GRAY, "a")]])._repr_png_()
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width == pytest.approx(1.5 * size["width"], abs=2)
        assert picture.height == pytest.approx(1.5 * size["height"], abs=2)


def test_ipython_displays_the_figure_without_pyplot():
    formatters = pytest.importorskip("IPython.core.formatters")
    data, metadata = formatters.DisplayFormatter().format(ResultFigure(figsize=(2, 1)))
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"] == {"width": 192, "height": 96}


def test_text_in_vector_files_is_text(tmp_path):
    figure = picture_figure([[Panel(GRAY, "tabby, 62 %")]])
    figure.savefig(tmp_path / "figure.svg")
    assert ">tabby, 62 %</text>" in (tmp_path / "figure.svg").read_text()
    figure.savefig(tmp_path / "figure.pdf")
    assert b"/Subtype /Type0" in (tmp_path / "figure.pdf").read_bytes()  # embedded TrueType
    assert b"/Subtype /Type3" not in (tmp_path / "figure.pdf").read_bytes()
