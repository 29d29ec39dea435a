"""Networks that are cut in two by hand, and gradients of weighted logits at the cut."""

import torch
from torch import nn

from convlens import trace, wrap
from convlens.capture import capture_nodes, compute_gradients

SIZE = 16


def conv(in_channels, out_channels, kernel=3, **options):
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, **options)


class Head(nn.Module):
    def __init__(self, channels=4, classes=5):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(x.square().mean((2, 3)))


class Net(nn.Module):
    """A convolution, a function of the module and its output, and a head."""

    def __init__(self, function, **parts):
        super().__init__()
        torch.manual_seed(0)
        self.first = conv(3, 4)
        for name, part in parts.items():
            self.add_module(name, part)
        self.head = Head()
        self.function = function

    def forward(self, x):
        return self.head(self.function(self, self.first(x)))


def images(count=3, size=SIZE):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def prepared(network, size=SIZE):
    model = wrap(network.eval(), size=size)
    return model, trace(model)


def slopes(network, *names, directions=None):
    """Gradients of weighted logits, `(K, N, ...)` for each name, and the values there."""
    model, model_trace = prepared(network)
    starts = [model_trace.find_node(name) for name in names]
    seen = capture_nodes(model, model_trace, images(), [model_trace.logits], gradient_nodes=starts)
    logits = seen[model_trace.logits]
    if directions is None:
        directions = weights(logits)[None]
    return compute_gradients(logits, [seen[value] for value in starts], directions), [
        seen[value] for value in starts
    ]


def weights(logits):
    return torch.arange(1.0, 1 + logits.numel()).view(logits.shape) / logits.numel()


def close(first, second):
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7)


class Cut(nn.Module):
    def forward(self, x):
        return x[:, :1], x[:, 1:]
