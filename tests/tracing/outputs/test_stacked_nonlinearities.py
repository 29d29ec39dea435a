"""Non-linearities that stack functions of a node and reduce the stack.

The oracle is a forward hook on the module that computes them.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.capture.nodes import capture_nodes
from support.field_networks import Do

NONLINEAR = {
    "relu by amax": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
    "relu by max": lambda x: torch.stack([torch.zeros_like(x), x], 1).max(1).values,
    "relu by cat": lambda x: torch.cat([x[None], torch.zeros_like(x)[None]]).amax(0),
    "leaky relu": lambda x: torch.stack([x, 0.1 * x], -1).amax(-1),
    "hard tanh": lambda x: torch.stack(
        [torch.stack([x, -torch.ones_like(x)]).amax(0), torch.ones_like(x)]
    ).amin(0),
    "softplus": lambda x: torch.logsumexp(torch.stack([x, torch.zeros_like(x)]), 0),
    "sum of relu and tanh": lambda x: torch.stack([F.relu(x), torch.tanh(x)]).sum(0),
    "swish": lambda x: torch.stack([x, x.sigmoid()]).prod(0),
    "half of a relu": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0) / 2,
}
OTHER = {
    "two parts": lambda x: torch.stack([x, 2 * x]).sum(0),
    "mean with a constant": lambda x: torch.stack([x, torch.ones_like(x)]).mean(0),
    "greatest of two pixels": lambda x: torch.stack([x, x.roll(1, 3)]).amax(0),
    "greatest of two channels": lambda x: torch.cat([x, x.flip(1)], 1).amax(1, keepdim=True),
}


class Classifier(nn.Module):
    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.act = Do(activation)
        self.head = nn.LazyLinear(3)

    def forward(self, x):
        return self.head(self.act(self.norm(self.conv(x))).mean((2, 3)))


def traced(activation):
    network = Classifier(activation).eval()
    network(torch.zeros(1, 3, 9, 9))
    model = convlens.wrap(network, size=9)
    return network, model, convlens.trace(model)


@pytest.mark.parametrize("name", NONLINEAR)
def test_a_reduced_stack_is_one_nonlinearity(name):
    network, model, trace = traced(NONLINEAR[name])
    images = torch.rand(2, 3, 9, 9)
    seen = []
    handle = network.act.register_forward_hook(
        lambda module, inputs, output: seen.extend([inputs[0].clone(), output.clone()])
    )
    with torch.no_grad():
        network(images)
    handle.remove()
    (convolution,) = trace.convolutions
    assert convolution.post
    for node, expected in zip((*convolution.sides.pre, convolution.node), seen, strict=True):
        assert torch.equal(capture_nodes(model, trace, images, [node])[node], expected)
    assert trace.final_layer.pre == convolution.sides.pre


@pytest.mark.parametrize("name", OTHER)
def test_what_is_affine_or_not_pointwise_is_none(name):
    _, _, trace = traced(OTHER[name])
    (convolution,) = trace.convolutions
    assert not convolution.post
