"""Scaling by channels, or of a part of a map, before and after a non-linearity.

It is a normalization, in any layout of the map. The oracle is the same network by plain execution,
which knows what its non-linearity consumes and returns.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.capture.nodes import capture_nodes
from support.field_networks import Do

FACTORS = torch.tensor([2.0, 0.5, -1.0, 3.0])
BY_CHANNEL = FACTORS.view(4, 1, 1)


def to_last(x):
    return x.permute(0, 2, 3, 1)


def to_first(x):
    return x.permute(0, 3, 1, 2)


def write_columns(x):
    x = x.clone()
    x[..., 1:3].mul_(0.5)
    return x


AFTER = {
    "channels first": lambda x: x * BY_CHANNEL,
    "channels last": lambda x: to_first(to_last(x) * FACTORS),
    "channels last, with an offset": lambda x: to_first(to_last(x) * FACTORS + FACTORS),
    "swapped axes": lambda x: (x.mT * BY_CHANNEL).mT,
    "columns": lambda x: write_columns(x) * 1.5,
    "one half": lambda x: torch.cat([x[:, :2], 2 * x[:, 2:]], 1),
    "rows": lambda x: torch.cat([x[:, :, :3] * 3, x[:, :, 3:]], 2),
}
BEFORE = {
    "channels first": lambda x: x * BY_CHANNEL,
    "channels last": lambda x: to_last(x) * FACTORS,
    "channels last, with an offset": lambda x: to_last(x) * FACTORS + FACTORS,
}


class Scaled(nn.Module):
    """A convolution, scaling, a ReLU, and scaling again."""

    def __init__(self, before, after):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.before, self.after = before, after

    def ends(self, x):
        """What the ReLU consumes and returns."""
        pre = self.before(self.conv(x))
        return pre, F.relu(pre)

    def forward(self, x):
        return self.head(self.after(self.ends(x)[1]).mean((2, 3)))


def check(before, after):
    network = Scaled(before, after).eval()
    images = torch.rand(2, 3, 9, 8)
    model = convlens.wrap(network, size=(9, 8))
    trace = convlens.trace(model)
    with torch.no_grad():
        expected = network.ends(images)
    (convolution,) = trace.convolutions
    assert convolution.sides.nonlinear
    for node, right in zip((*convolution.sides.pre, convolution.sides.post), expected, strict=True):
        assert torch.equal(capture_nodes(model, trace, images, [node])[node], right)


@pytest.mark.parametrize("name", AFTER)
def test_scaling_after_it_does_not_belong_to_it(name):
    check(lambda x: x, AFTER[name])


@pytest.mark.parametrize("name", BEFORE)
def test_scaling_before_it_does_not_belong_to_it(name):
    is_last = name != "channels first"
    check(BEFORE[name], to_first if is_last else lambda x: x)


def test_on_a_flat_map_the_non_linearity_ends_where_the_map_is_restored():
    def activate(x):
        return (F.relu(x.flatten(2)) * FACTORS.view(4, 1)).view_as(x)

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Do(activate)).eval()
    images = torch.rand(2, 3, 9, 8)
    model = convlens.wrap(nn.Sequential(*network, nn.Flatten(), nn.Linear(168, 2)), size=(9, 8))
    patches = convlens.patches(model, images, layers=["0"], top=1, show=1)["0"]
    right = network(images).detach().amax((0, 2, 3))
    torch.testing.assert_close(patches.values[:, 0], right)
