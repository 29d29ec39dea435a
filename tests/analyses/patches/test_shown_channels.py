"""Which channels `patches` shows when only their number is given."""

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.patches.activation_statistics import (
    BIN_COUNT,
    BIN_EDGES,
    deviation_between_images,
)


def histogram(*images: float) -> torch.Tensor:
    """The histogram of one channel with these greatest activations, int32 `(1, BIN_COUNT)`."""
    bins = torch.bucketize(torch.tensor(images), BIN_EDGES)
    return torch.bincount(bins, minlength=BIN_COUNT)[None].int()


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ((6.0, 6.0, 6.0, 6.0), 0.0), ((0.0, 0.0), 0.0), ((4.0, 4.0, 0.0, 0.0), 0.5),
        ((8.0, 0.0, 0.0, 0.0), 3**0.5 / 4), ((-5.0, 8.0), 0.5), ((1e9, 0.0), 0.5),
    ],
)  # fmt: skip
def test_the_deviation_is_in_units_of_the_strongest_image(images, expected):
    assert float(deviation_between_images(histogram(*images))) == pytest.approx(expected)


def test_the_deviation_is_that_of_the_images_to_within_a_bin():
    images = torch.rand(200, generator=torch.Generator().manual_seed(0)) * 5 + 0.1
    exact = images.std(correction=0) / images.max()
    assert float(deviation_between_images(histogram(*images))) == pytest.approx(exact, abs=0.03)


def test_channels_that_tell_the_images_apart_are_shown_first():
    """Channel 0 sees a bright image, 1 is constant, 2 is dead, 3 sees it half as strongly."""
    layer = nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0], layer.weight[3, 0] = 4.0, 2.0
        layer.bias.copy_(torch.tensor([0.0, 3.0, -1.0, 2.0]))
    network = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.zeros(4, 3, 4, 4)
    images[:2] = 1.0
    model = convlens.wrap(network, size=4)
    shown = convlens.patches(model, images, show=2)["0"].shown
    assert [channel.channel for channel in shown] == [0, 3]
    shown = convlens.patches(model, images, show=10)["0"].shown
    assert [channel.channel for channel in shown] == [0, 3, 1]
