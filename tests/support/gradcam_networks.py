"""Networks with known Grad-CAM maps, images for them, and a comparison of maps."""

import pytest
import torch
from torch import nn

from convlens import wrap

SIZE = 64


def images(count=2, size=SIZE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def conv(in_channels, out_channels, kernel=3, **options):
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, **options)


class Pooled(nn.Module):
    """Convolutions, a non-linearity, global average pooling, a linear layer."""

    def __init__(self, relu, classes=4):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = conv(3, 5), conv(5, 6, stride=2)
        self.relu, self.linear = relu, nn.Linear(6, classes)

    def forward(self, x):
        return self.linear(self.relu(self.second(self.first(x).tanh())).mean((2, 3)))


def assert_same(actual, expected):
    """Compare maps with a tolerance of 1e-5 of the greatest absolute value."""
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture(scope="session")
def pooled():
    labels = ("tabby, tabby cat", "dog", "crane", "crane")
    return wrap(Pooled(nn.ReLU(inplace=True)), size=SIZE, labels=labels)
