"""wrap finds the number of input channels from the convolution that an image meets."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from support.public_functions import SIZE


class HeadFirst(nn.Module):
    """Declares its head before its stem."""

    def __init__(self, channels):
        super().__init__()
        self.head = nn.Conv2d(12, 5, 1)
        self.stem = nn.Conv2d(channels, 12, 3, groups=channels)

    def forward(self, x):
        return self.head(F.relu(self.stem(x))).mean((2, 3))


class BareConvolution(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.head = nn.Conv2d(8, 5, 1)
        self.bank = nn.Parameter(torch.randn(8, channels, 3, 3))

    def forward(self, x):
        return self.head(F.conv2d(x, self.bank)).mean((2, 3))


def space_to_depth(channels):
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, 6, 3), nn.Flatten())


def several(channels):
    return nn.Sequential(nn.Conv2d(channels, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten())


def double(channels):
    return HeadFirst(channels).double()


@pytest.mark.parametrize("make", [HeadFirst, BareConvolution, space_to_depth, several, double])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_are_those_of_the_convolution_that_runs_first(make, channels):
    model = convlens.wrap(make(channels), size=SIZE)
    assert model.channels == channels
    with torch.no_grad():
        assert len(model(torch.rand(2, channels, SIZE, SIZE))) == 2


def test_networks_without_a_convolution_take_three_channels():
    assert convlens.wrap(nn.Flatten(), size=SIZE).channels == 3


def test_a_network_that_does_not_run_keeps_the_channels_that_it_declares():
    class Broken(HeadFirst):
        def forward(self, x):
            raise RuntimeError("no")

    assert convlens.wrap(Broken(1), size=SIZE).channels == 12


def test_the_network_stays_as_it_is():
    network = nn.Sequential(nn.BatchNorm2d(3), HeadFirst(3)).train()
    convlens.wrap(network, size=SIZE)
    assert network.training and int(network.get_buffer("0.num_batches_tracked")) == 0
