"""Matplotlib figures as SVG inside a document."""

import re
from xml.etree import ElementTree

import torch
from matplotlib.figure import Figure

from convlens.drawing.boards import Board
from convlens.drawing.palette import ACCENT, ACCENT_FILL, INK
from convlens.html.figures import formula_svg, inline_svg


def board():
    drawn = Board(4, 3)
    drawn.grid(torch.tensor([[1.0, -2.0]]), 1, 1, fills=[[ACCENT_FILL, None]])
    drawn.words(2, 2.5, "a & b", color=INK)
    drawn.box(0, 0, 1, 1, fill="#123456", color=ACCENT)
    drawn.picture(torch.zeros(4, 4, 3, dtype=torch.uint8), 3, 0, 1, 1)
    return drawn.figure


def test_text_stays_text_and_colors_are_those_of_the_document():
    svg = str(inline_svg(board(), 'numbers "1" and −2', "first"))
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == 'numbers "1" and −2'
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["1", "−2", "a & b"]
    assert {"var(--accent)", "var(--accent-fill)", "#123456"} <= set(
        re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)
    )
    assert ACCENT not in svg
    assert "DejaVu" not in svg


def test_two_figures_of_a_document_share_no_identifier():
    svgs = [str(inline_svg(board(), "numbers", prefix)) for prefix in ("first", "second")]
    identifiers = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in svgs]
    assert identifiers[0]
    assert not identifiers[0] & identifiers[1]
    for svg, own in zip(svgs, identifiers, strict=True):
        used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
        assert used <= own


def test_equal_figures_give_equal_text():
    assert inline_svg(board(), "numbers", "a") == inline_svg(board(), "numbers", "a")


def test_a_formula_is_drawn_in_the_color_of_the_text():
    svg = str(formula_svg(r"$\sum_l I(j+l)\,K(l)$", "formula"))
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == r"\sum_l I(j+l)\,K(l)"
    assert 40 < float(root.get("width")) < 300
    assert "#000000" not in svg
    assert "<path" in svg


def test_a_figure_without_a_board():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [0, 1])
    assert "<svg" in inline_svg(figure, "a line", "line")
