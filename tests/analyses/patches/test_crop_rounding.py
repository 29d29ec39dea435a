"""Rounding of an ill-conditioned layer is not taken for a fault of its crops."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.analyses.patches.crop_check import UnitActivation, check_crops
from convlens.analyses.patches.crop_check_result import TOLERANCE
from convlens.tracing.selection import find_channel_sources

SIZE = 24


class BiasFirst(nn.Conv2d):
    """Adds the input channels one by one to the bias; for two images the bias is added last.

    Libraries choose other algorithms for other numbers of images, but not on every processor.
    """

    def forward(self, images):
        channels = [slice(channel, channel + 1) for channel in range(images.shape[1])]
        terms = [F.conv2d(images[:, channel], self.weight[:, channel]) for channel in channels]
        terms.insert(len(terms) if len(images) == 2 else 0, self.bias[None, :, None, None])
        return functools.reduce(torch.add, terms)


@pytest.fixture
def cancelling():
    """A model whose second layer subtracts neighbors that a large bias has made coarse."""
    torch.manual_seed(0)
    network = nn.Sequential(BiasFirst(3, 8, 5), nn.Conv2d(8, 4, 3))
    with torch.no_grad():
        network[0].bias.fill_(1e4)
        network[1].weight -= network[1].weight.mean((1, 2, 3), keepdim=True)
        network[1].bias.zero_()
    return convlens.wrap(network.eval(), size=SIZE)


def units_of(model, images):
    """Every fifth unit of the second layer, with its activation in the whole image."""
    with torch.no_grad():
        maps = model.network(model.normalize(images))
    return [
        UnitActivation(image, channel, row, column, float(maps[image, channel, row, column]))
        for image in range(len(images))
        for channel in range(maps.shape[1])
        for row in range(0, maps.shape[2], 5)
        for column in range(0, maps.shape[3], 5)
    ]


def check(model, images, units):
    model_trace = convlens.trace(model, images)
    (source,) = find_channel_sources(model_trace, ["1"])
    return check_crops(model, model_trace, source.node, images, units)


def test_rounding_is_measured_and_explains_the_difference(cancelling):
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    crop_check = check(cancelling, images, units_of(cancelling, images))
    assert crop_check.largest_difference > TOLERANCE  # or nothing would be tested
    assert crop_check.rounding > TOLERANCE
    assert crop_check.holds
    assert "the same activation" in crop_check.summary()


def test_larger_differences_are_still_noticed(cancelling):
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    units = units_of(cancelling, images)
    rounding = check(cancelling, images, units).rounding
    with torch.no_grad():
        maps = cancelling.network(cancelling.normalize(images))
    wrong = units[0].value + 3 * rounding * float(maps.double().square().mean().sqrt())
    assert check(cancelling, images, [UnitActivation(0, 0, 0, 0, wrong)]).holds is False


def test_rounding_is_not_measured_where_differences_are_small():
    torch.manual_seed(0)
    model = convlens.wrap(nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 4, 3)).eval(), size=SIZE)
    images = torch.rand(1, 3, SIZE, SIZE)
    crop_check = check(model, images, units_of(model, images))
    assert crop_check.holds and crop_check.rounding == 0
