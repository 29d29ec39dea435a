"""Non-linearities that are computed on rearranged maps.

The oracle is Grad-CAM and the strongest activations by plain execution of the same network.
"""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.capture.nodes import capture_nodes
from support.activated_classifiers import Classifier
from support.field_networks import Do


def swish(x):
    return x * x.sigmoid()


UNDONE = {
    "flat relu": lambda x: F.relu(x.flatten()).view_as(x),
    "flat swish": lambda x: swish(x.flatten(2)).view_as(x),
    "swish of rows of pixels": lambda x: (
        swish(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
    ),
    "channels last": lambda x: F.elu(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "swapped axes": lambda x: torch.tanh(x.mT).mT,
    "view by its own strides": lambda x: torch.tanh(x.as_strided(x.shape, x.stride())),
}


def images():
    return torch.rand(3, 3, 9, 11, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", UNDONE)
def test_patches_are_read_after_it_and_grad_cam_before_it(name):
    network = Classifier(UNDONE[name]).eval()
    model = convlens.wrap(network, size=(9, 11))
    pre = network.norm(network.conv(images())).detach().requires_grad_()
    post = network.activation(pre)
    scores = network.head(post.mean((2, 3)))[:, 1].sum()
    before, after = (
        torch.autograd.grad(scores, node, retain_graph=True)[0] for node in (pre, post)
    )
    strongest = post.amax((2, 3)).T.sort(descending=True).values

    patches = convlens.patches(model, images(), top=3, show=1)["conv"]
    torch.testing.assert_close(patches.values, strongest.detach())
    calls: list[tuple[dict[str, Any], torch.Tensor, torch.Tensor]] = [
        ({}, pre, before),
        ({"layer": "conv"}, pre, before),
        ({"layer": "conv", "side": "post"}, post, after),
    ]
    for options, node, gradient in calls:
        expected = (gradient.mean((2, 3), keepdim=True) * node).sum(1).detach()
        cam = convlens.gradcam(model, images(), classes=[1], **options)
        torch.testing.assert_close(cam.maps[:, 0], expected)


@pytest.mark.parametrize(
    "activation",
    [
        lambda x: F.relu(x.flatten(2)).flip(2).view_as(x),
        lambda x: F.relu(x.transpose(2, 3)).reshape(x.shape),
        lambda x: F.relu(x.as_strided(x.shape, (*x.stride()[:2], 1, x.shape[2]))),
    ],
)
def test_elements_that_end_elsewhere_are_no_nonlinearity_of_the_map(activation):
    trace = convlens.trace(convlens.wrap(Classifier(activation).eval(), size=(9, 11)))
    nonlinearity = trace.structure.nonlinearities.of(trace.find_node("norm"))
    assert nonlinearity is None


class BetweenFlatMaps(nn.Module):
    """Normalization and pooling of a flat map, with the activation on the map between them."""

    def __init__(self, normalize, activate):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.normalize, self.activate = normalize, activate

    def ends(self, x):
        x = self.conv(x)
        pre = self.normalize(x.flatten(2)).view_as(x)
        return pre, self.activate(pre)

    def forward(self, x):
        return self.head(self.ends(x)[1].flatten(2).mean(2))


@pytest.mark.parametrize(
    "normalize",
    [
        lambda x: (x - x.mean(2, keepdim=True)) / (x.var(2, keepdim=True) + 1e-5).sqrt(),
        lambda x: x * torch.tensor([[2.0], [0.5], [-1.0], [3.0]]),
    ],
)
@pytest.mark.parametrize("activate", [F.gelu, swish, lambda x: F.relu(x.flip(3)).flip(3)])
def test_an_activation_of_the_map_between_flat_maps(normalize, activate):
    network = BetweenFlatMaps(normalize, activate).eval()
    model = convlens.wrap(network, size=(9, 11))
    trace = convlens.trace(model)
    (convolution,) = trace.convolutions
    assert convolution.sides.nonlinear
    with torch.no_grad():
        expected = network.ends(images())
    for node, right in zip((*convolution.sides.pre, convolution.sides.post), expected, strict=True):
        torch.testing.assert_close(capture_nodes(model, trace, images(), [node])[node], right)


def test_a_module_between_permutations_keeps_its_own_output():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), Do(lambda x: x.permute(0, 2, 3, 1)), nn.ELU(),
        Do(lambda x: x.permute(0, 3, 1, 2)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval()  # fmt: skip
    trace = convlens.trace(convlens.wrap(network, size=9))
    assert trace.name(trace.final_layer.post) == "2"
    assert [trace.name(node) for node in trace.final_layer.pre] == ["1"]
