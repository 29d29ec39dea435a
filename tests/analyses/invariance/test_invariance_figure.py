"""The figure of the invariance of channels: all curves lie inside, and the legend beside them."""

import numpy as np
import torch
from torch import nn

import convlens


def test_no_curve_leaves_its_panel_and_none_lies_under_the_legend():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    result = convlens.invariance(convlens.wrap(network, size=16), torch.rand(6, 3, 16, 16))
    figure = result.figure()
    figure.draw_without_rendering()
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names and len(names) == len(set(names))
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for line in axes.lines:
            heights = np.asarray(line.get_ydata())
            assert low <= heights.min() and heights.max() <= high
        assert not axes.get_window_extent().overlaps(legend.get_window_extent())
