"""Networks with values that are no numbers, parameters without dimensions, and no parameters."""

import copy

import pytest
import torch
from torch import nn

import convlens


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_layer_that_returns_no_numbers_is_found(value):
    first = network()
    second = copy.deepcopy(first)
    with torch.no_grad():
        second[2].bias[1] = value
    layers = convlens.compare_layers(
        convlens.wrap(first, size=8), convlens.wrap(second, size=8), torch.rand(2, 3, 8, 8)
    )
    assert layers.first_exceeding is not None
    assert layers.first_exceeding.name == "2"


class Scaled(nn.Module):
    """A network with a parameter that has no dimension."""

    def __init__(self, scale):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x):
        return (self.conv(x) * self.scale).mean((2, 3))


def test_a_parameter_without_dimensions_is_located():
    changes = convlens.compare_weights(
        convlens.wrap(Scaled(1.0), size=8), convlens.wrap(Scaled(2.0), size=8)
    )
    assert [tensor.name for tensor in changes.changes] == ["scale"]


def test_networks_without_parameters_are_compared():
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    models = [convlens.wrap(each, size=8) for each in (plain, copy.deepcopy(plain))]
    assert not convlens.compare_weights(*models).changes
