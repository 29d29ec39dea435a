"""The memory format in which gradient ascent gives images to the network."""

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.maximize.transforms import Transforms


@pytest.mark.parametrize("parameterization", ["fourier", "pixels"])
@pytest.mark.parametrize("transforms", [None, Transforms()])
def test_the_network_gets_channels_last_images(parameterization, transforms):
    formats = set()

    class Recorder(nn.Module):
        def forward(self, images):
            formats.add(images.is_contiguous(memory_format=torch.channels_last))
            return images

    torch.manual_seed(0)
    model = convlens.wrap(nn.Sequential(Recorder(), nn.Conv2d(3, 2, 3), nn.ReLU()), size=16)
    convlens.trace(model, size=(64, 64))  # which runs the network in both formats
    convlens.trace(model)
    formats.clear()
    convlens.maximize(
        model, ["1:0", "1:1"], steps=2, parameterization=parameterization, transforms=transforms
    )
    assert formats == {True}
