"""Small networks for the tests of the trace."""

import torch
from torch import nn

from convlens import trace, wrap

SIZE = 16


def conv(in_channels, out_channels, kernel=3, **options):
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, **options)


class Head(nn.Module):
    """Global average pooling and a linear layer."""

    def __init__(self, channels=4, classes=5):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(x.mean((2, 3)))


class Net(nn.Module):
    """A convolution, a function of the module and its output, and a head."""

    def __init__(self, function, channels=4, **parts):
        super().__init__()
        self.first = conv(3, 4)
        for name, part in parts.items():
            self.add_module(name, part)
        self.head: nn.Module = Head(channels)
        self.function = function

    def forward(self, x):
        return self.head(self.function(self, self.first(x)))


def traced(network, size=SIZE):
    return trace(wrap(network, size=size))


def images(count=2, size=SIZE):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def sides(model_trace):
    return model_trace.name(model_trace.final_layer.post), [
        model_trace.name(node) for node in model_trace.final_layer.pre
    ]
