"""Non-linearities whose operations move elements or combine a few of them.

The oracle is the same network without convlens: Grad-CAM by autograd, and the greatest activations.
"""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from support.activated_classifiers import Classifier

CENTERS = torch.tensor([-1.0, 0.0, 1.0])
TABLE = torch.tensor([0.0, 0.3, 1.0, 2.0])
WEIGHTS = torch.linspace(-1, 1, 12).view(4, 1, 1, 3)


def swish(x):
    return x * x.sigmoid()


def write_in_halves(x):
    result = x.clone()
    result[:, :2] = x[:, :2].relu()
    result[:, 2:] = x[:, 2:].tanh()
    return result


def flat_twice(x):
    flat = x.flatten(2)
    return (flat * flat.flatten(1).sigmoid().view_as(flat)).view_as(x)


ELEMENTWISE = {
    "chunks": lambda x: torch.cat([F.relu(part) for part in x.chunk(2, 1)], 1),
    "rows": lambda x: torch.cat([swish(part) for part in x.split(3, 2)], 2),
    "other function for each half": lambda x: torch.cat([x[:, :2].relu(), x[:, 2:].tanh()], 1),
    "einsum": lambda x: torch.einsum("nchw,nchw->nchw", x, x.sigmoid()),
    "einsum of positions": lambda x: torch.einsum("ncp,ncp->ncp", *2 * [x.flatten(2)]).view_as(x),
    "matrices of one number": lambda x: (x[..., None, None] @ x[..., None, None].relu())[..., 0, 0],
    "sort": lambda x: torch.stack([x, torch.zeros_like(x)], -1).sort(-1).values[..., 1],
    "topk": lambda x: torch.stack([x, torch.zeros_like(x)]).topk(1, 0).values[0],
    "median": lambda x: torch.stack([x, 0 * x, 0 * x + 1]).median(0).values,
    "softmax with zero": lambda x: torch.stack([x, torch.zeros_like(x)]).softmax(0)[0] * x,
    "gated linear unit of itself": lambda x: F.glu(torch.cat([x, x], 3), 3),
    "complex": lambda x: torch.complex(x, torch.zeros_like(x)).abs(),
    "complex parts": lambda x: torch.view_as_complex(torch.stack([x, x.relu()], -1)).abs(),
    "flat twice": flat_twice,
    "written in halves": write_in_halves,
    "unbound channels": lambda x: torch.stack([F.elu(part) for part in x.unbind(1)], 1),
    "index and back": lambda x: F.relu(x[:, [2, 0, 3, 1]])[:, [1, 3, 0, 2]],
    "rolled and back": lambda x: F.gelu(x.roll(2, 3)).roll(-2, 3),
    "table": lambda x: TABLE[torch.bucketize(x.contiguous(), CENTERS)] * x,
    "sum of radial functions": lambda x: (
        torch.stack([torch.exp(-((x - center) ** 2)) for center in CENTERS], -1) * WEIGHTS
    ).sum(-1),
    "layer of radial functions": lambda x: (
        F.linear(torch.exp(-((x[..., None] - CENTERS) ** 2)), WEIGHTS[:1, 0, 0])[..., 0]
    ),
    "distance to numbers": lambda x: (x[..., None] - CENTERS).abs().amin(-1),
    "shuffled and back": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2).tanh(), 2),
    "windows": lambda x: (
        swish(x.unflatten(3, (4, 3)).permute(0, 3, 1, 2, 4)).permute(0, 2, 3, 1, 4).flatten(3)
    ),
}  # fmt: skip
OTHER = {
    "channels end elsewhere": lambda x: torch.cat([part.relu() for part in x.chunk(2, 1)][::-1], 1),
    "gate of the next channel": lambda x: torch.einsum(
        "nchw,nchw->nchw", x, x.roll(1, 1).sigmoid()
    ),
    "greatest of a channel": lambda x: x * (x == x.sort(1).values[:, -1:]),
    "one half from the other": lambda x: torch.cat([x[:, :2], x[:, :2] * x[:, 2:]], 1),
    "affine": lambda x: torch.cat([2 * x[:, :2], 3 * x[:, 2:]], 1),
    "cumulated": lambda x: x * x.cumsum(1).sigmoid(),
}


def images():
    return torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(1))


def check_sides(network, model):
    pre = network.norm(network.conv(images())).detach().requires_grad_()
    post = network.activation(pre)
    scores = network.head(post.mean((2, 3)))[:, 1].sum()
    before, after = torch.autograd.grad(scores, (pre, post))
    strongest = post.amax((2, 3)).T.sort(descending=True).values

    patches = convlens.patches(model, images(), top=2, show=1)["conv"]
    torch.testing.assert_close(patches.values, strongest.detach())
    calls: list[tuple[dict[str, Any], torch.Tensor, torch.Tensor]] = [
        ({}, pre, before), ({"layer": "conv", "side": "post"}, post, after)
    ]  # fmt: skip
    for options, node, gradient in calls:
        expected = (gradient.mean((2, 3), keepdim=True) * node).sum(1).detach()
        cam = convlens.gradcam(model, images(), classes=[1], **options)
        torch.testing.assert_close(cam.maps[:, 0], expected)
        assert cam.warnings == ()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_patches_are_read_after_it_and_grad_cam_before_it(name):
    network = Classifier(ELEMENTWISE[name]).eval()
    check_sides(network, convlens.wrap(network, size=(10, 14)))


def test_an_activation_between_views_may_be_a_module():
    network = Classifier(nn.Module()).eval()
    network.activation = Flat()
    check_sides(network, convlens.wrap(network, size=(10, 14)))


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.SiLU()

    def forward(self, x):
        return self.act(x.flatten(2)).view_as(x)


@pytest.mark.parametrize("name", OTHER)
def test_what_is_not_elementwise_is_no_nonlinearity_of_the_map(name):
    trace = convlens.trace(convlens.wrap(Classifier(OTHER[name]).eval(), size=(10, 14)))
    assert trace.structure.nonlinearities.of(trace.find_node("norm")) is None
