"""Networks that are cut in two by hand, and gradients of weighted logits at the cut."""

import torch
from torch import nn

from convlens import trace, wrap
from convlens.capture.gradients import compute_gradients
from convlens.capture.nodes import capture_nodes
from support import traced_networks
from support.traced_networks import SIZE


class Head(nn.Module):
    """The mean square of each channel and a linear layer."""

    def __init__(self, channels=4, classes=5):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(x.square().mean((2, 3)))


class Net(traced_networks.Net):
    """A convolution, a function of the module and its output, and a head of mean squares."""

    def __init__(self, function, **parts):
        torch.manual_seed(0)
        super().__init__(function, **parts)
        self.head = Head()


def images(count=3, size=SIZE):
    return traced_networks.images(count, size)


def prepared(network, size=SIZE):
    model = wrap(network.eval(), size=size)
    return model, trace(model)


def slopes(network, *names, directions=None):
    """Gradients of weighted logits, `(K, N, ...)` for each name, and the values there."""
    model, model_trace = prepared(network)
    starts = [model_trace.find_node(name) for name in names]
    captured = capture_nodes(
        model, model_trace, images(), [model_trace.logits], gradient_nodes=starts
    )
    logits = captured[model_trace.logits]
    if directions is None:
        directions = weights(logits)[None]
    return compute_gradients(logits, [captured[value] for value in starts], directions), [
        captured[value] for value in starts
    ]


def weights(logits):
    return torch.arange(1.0, 1 + logits.numel()).view(logits.shape) / logits.numel()


def close(first, second):
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7)


class Cut(nn.Module):
    def forward(self, x):
        return x[:, :1], x[:, 1:]
