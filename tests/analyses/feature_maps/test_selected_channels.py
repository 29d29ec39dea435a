"""Maps of some channels of a layer: every number and picture is that of its own channel."""

import numpy as np
import torch
from torch import nn

from convlens import feature_maps, wrap

CHANNELS = (6, 3, 5)


def selected():
    """The maps of three of eight channels, which are 6, 3 and 5 everywhere."""
    convolution = nn.Conv2d(3, 8, 1)
    nn.init.zeros_(convolution.weight)
    with torch.no_grad():
        convolution.bias.copy_(torch.arange(8.0))
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 2))
    return feature_maps(
        wrap(network, size=8), torch.rand(1, 3, 8, 8), layer="0", channels=list(CHANNELS)
    )


def test_rows_of_the_table_are_those_of_their_channels():
    table = selected().table()
    assert sorted(table.rows) == [(str(k), str(k), str(k), str(k)) for k in sorted(CHANNELS)]
    assert table.total == 3


def test_pictures_of_the_figure_are_those_of_their_channels():
    result = selected()
    panels = {
        axes.get_title(loc="left"): np.unique(
            axes.images[0].get_array().reshape(-1, 3), axis=0
        ).tolist()
        for axes in result.figure().axes
        if axes.images and axes.get_title(loc="left").startswith("channel")
    }
    expected = {
        f"channel {channel}": [result.colors(torch.tensor(float(channel))).tolist()]
        for channel in CHANNELS
    }
    assert panels == expected
