"""Colors of figures: curves have those of the palette, and a document replaces them by its own."""

import re

import torch
from matplotlib.figure import Figure

from convlens.analyses.shift.offset_map import OffsetMap
from convlens.drawing import new_figure, sequential_colors
from convlens.drawing.palette import CURVES
from convlens.html.figures import inline_svg


def test_curves_without_a_color_have_those_of_the_palette():
    figure = new_figure((3, 2))
    for axes in figure.subplots(1, 2):
        lines = [axes.plot([0, 1], [0, number])[0] for number in range(len(CURVES))]
        assert tuple(line.get_color() for line in lines) == CURVES


def test_the_palette_stays_inside_these_figures():
    figures = [new_figure((3, 2)), Figure(), new_figure((3, 2))]
    colors = [figure.subplots().plot([0, 1], [0, 1])[0].get_color() for figure in figures]
    assert colors[0] == colors[2] == CURVES[0]
    assert colors[1] != CURVES[0]


def test_a_document_replaces_the_colors_of_all_curves():
    figure = new_figure((3, 2))
    axes = figure.subplots()
    for number in range(len(CURVES)):
        axes.plot([0, 1], [0, number + 1])
    svg = str(inline_svg(figure, "curves", "curves"))
    strokes = re.findall(r"stroke: (var\(--\w+\)|#\w+)", svg)
    assert {"var(--accent)", "var(--second)", "var(--muted)", "var(--ink)"} <= set(strokes)
    assert not [color for color in CURVES if color in svg]


def test_offsets_are_drawn_in_the_one_color_map_of_unsigned_numbers():
    shares = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
    offsets = OffsetMap(
        class_index=0, name="cat", protocol="crop", rows=(0, 1), columns=(0, 1),
        probabilities=shares, predictions=torch.zeros(2, 2, dtype=torch.int64), lowest=0.0,
        highest=1.0, predicted_share=1.0,
    )  # fmt: skip
    image = offsets.figure().axes[0].images[0]
    drawn = torch.from_numpy(image.to_rgba(shares.numpy(), bytes=True)[..., :3].copy())
    assert torch.equal(drawn, sequential_colors(shares, 0, 1))
