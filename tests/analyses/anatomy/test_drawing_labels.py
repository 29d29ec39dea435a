"""Labels of the drawing of a network: where they stand, and their colors inside a document."""

import re
from itertools import pairwise

import pytest
from torch import nn

from convlens import anatomy, wrap
from convlens.html.figures import inline_svg


@pytest.fixture(scope="module")
def layers():
    """A network whose pooling lies directly before its output."""
    return anatomy(
        wrap(
            nn.Sequential(
                nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
            ),
            size=32,
        )
    )  # fmt: skip


def test_the_output_has_a_label_and_labels_keep_their_distance(layers):
    labels = layers.drawing().labels
    assert labels[0][2] == "32×32\n3" and labels[-1][2] == "10"
    assert all(after[0] - before[0] >= 36 for before, after in pairwise(labels))


def test_texts_of_the_figure_have_the_colors_of_the_document(layers):
    svg = str(inline_svg(layers.figure(), "network", "network"))
    styles = re.findall(r'<text[^>]* style="([^"]*)"', svg)
    assert len(styles) >= 4
    for style in styles:
        fill = re.search(r"fill: ([^;\"]+)", style)
        assert fill is None or fill[1].startswith("var(--")
