"""Grad-CAM on every network that receptive fields are tested on, against captum and closed forms.

VGG-16, ResNet-50, MobileNetV2, DenseNet, SqueezeNet and GoogLeNet are in `test_gradcam.py`.
"""

import copy
from typing import Any

import pytest
import timm
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from convlens import gradcam, wrap

CLASSES = (3, 7)


def images(size, count=2, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def awake(network, size):
    """Initialize weights so that activations do not vanish, and set batch norm statistics."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        elif isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1, 0.2)
    with torch.no_grad():
        network.train()(images(size, 8, seed=5))
    return network.eval()


def inplace(network, value):
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = value
    return network


def parted(network):
    """Split timm's norm with activation into two modules, which captum takes as layers."""
    whole = network.bn2
    norm = nn.BatchNorm2d(whole.num_features, eps=whole.eps)
    norm.load_state_dict(whole.state_dict())
    network.bn2 = nn.Sequential(norm, nn.ReLU6()).eval()
    return network.bn2[0], network.bn2[1]


# For each network: how to build it, its smallest size, and the modules whose outputs captum takes
# as pre and post side, in a copy whose rectifiers work out of place. The same module twice stands
# for its input and its output.
CASES = {
    "alexnet": (
        lambda: torchvision.models.alexnet(weights=None, num_classes=10), 64,
        lambda n: (n.features[10], n.features[11]),
    ),
    "tf_efficientnet_lite0": (
        lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=10), 64,
        parted,
    ),
    "convnext_tiny": (
        lambda: torchvision.models.convnext_tiny(weights=None, num_classes=10), 64,
        lambda n: (n.features[7], n.features[7]),
    ),
    "efficientnet_b0": (
        lambda: torchvision.models.efficientnet_b0(weights=None, num_classes=10), 64,
        lambda n: (n.features[8][1], n.features[8][2]),
    ),
    "timm_resnet50": (
        lambda: timm.create_model("resnet50", pretrained=False, num_classes=10), 64,
        lambda n: (n.layer4[2].act3, n.layer4[2].act3),
    ),
    "regnety_004": (
        lambda: timm.create_model("regnety_004", pretrained=False, num_classes=10), 64,
        lambda n: (list(n.s4.children())[-1].act3,) * 2,
    ),
}  # fmt: skip
AT_INPUT = ("timm_resnet50", "regnety_004")
POOLED = ("tf_efficientnet_lite0", "efficientnet_b0", "timm_resnet50", "regnety_004")


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture(scope="module", params=CASES)
def case(request):
    torch.manual_seed(0)
    make, size, _ = CASES[request.param]
    network = awake(make(), size)
    return request.param, network, size


@pytest.mark.parametrize("in_place", [True, False])
def test_maps_equal_captums_on_both_sides(case, in_place):
    name, network, size = case
    captum_network = inplace(copy.deepcopy(network), False)
    pre, post = CASES[name][2](captum_network)
    model = wrap(inplace(network, in_place), size=size)
    sides: list[Any] = [("pre", pre), ("post", post)]
    for side, layer in sides:
        ours = gradcam(model, images(size), classes=list(CLASSES), side=side)
        at_input = side == "pre" and name in AT_INPUT
        maps = [
            LayerGradCam(captum_network, layer).attribute(
                images(size), target=index, attribute_to_layer_input=at_input
            )
            for index in CLASSES
        ]
        theirs = torch.cat(maps, dim=1).detach()
        assert theirs.abs().max() > 1e-6
        assert_same(ours.maps, theirs)


@pytest.mark.parametrize("case", POOLED, indirect=True)
def test_class_activation_mapping_where_the_head_is_pooling_and_one_linear_layer(case):
    """alpha_k = w_k / M on the post side (Zhou et al. 2016)."""
    _, network, size = case
    cam = gradcam(wrap(network, size=size), images(size), classes=list(CLASSES), side="post")
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    cells = cam.maps[0, 0].numel()
    expected = (head.weight.detach()[list(CLASSES)] / cells).expand_as(cam.alpha)
    torch.testing.assert_close(cam.alpha, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
def test_inceptions_branches_end_in_place():
    """The last block concatenates the outputs of six functional ReLUs: against a plain loop."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, init_weights=False, num_classes=10)
    network.aux_logits, network.AuxLogits = False, None
    network = awake(network, 139)
    block = network.Mixed_7c
    ends = ("branch1x1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_3a", "branch3x3dbl_3b",
            "branch_pool")  # fmt: skip
    pre_maps = []
    handles = [
        getattr(block, end).bn.register_forward_hook(
            lambda module, inputs, output: pre_maps.append(output) or output.clone()
        )
        for end in ends
    ]
    logits = network(images(139))
    for handle in handles:
        handle.remove()
    # In order of execution; the concatenation has another order, which does not change the sum.
    slopes = torch.autograd.grad(logits[:, 3].sum(), pre_maps)
    expected = sum(
        (slope.mean((2, 3), keepdim=True) * value).sum(1)
        for slope, value in zip(slopes, pre_maps, strict=True)
    )
    model = wrap(network, size=139)
    ours = gradcam(model, images(139), classes=[3])
    assert_same(ours.maps[:, 0], expected.detach())
    assert set(ours.nodes) == {f"Mixed_7c.{end}.bn" for end in ends}
    post = gradcam(model, images(139), classes=[3], side="post")
    theirs = LayerGradCam(network, block).attribute(images(139), target=3)
    assert_same(post.maps, theirs.detach())


class MeanOverAnswers(nn.Module):
    """For each class its mean logit over the pixels that are predicted as this class."""

    def __init__(self, network, answers):
        super().__init__()
        self.network, self.answers = network, answers

    def forward(self, x):
        out = self.network(x)["out"]
        masks = [self.answers == index for index in range(out.shape[1])]
        sums = [
            (out[:, index] * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
            for index, mask in enumerate(masks)
        ]
        return torch.stack(sums, 1)


@pytest.mark.parametrize(
    ("name", "rectifier"),
    [("fcn_resnet50", "classifier.2"), ("deeplabv3_mobilenet_v3_large", "classifier.3")],
)
def test_segmentation_equals_captum_behind_a_wrapper(name, rectifier):
    torch.manual_seed(0)
    make = getattr(torchvision.models.segmentation, name)
    network = awake(make(weights=None, weights_backbone=None, num_classes=5), 64)
    model, batch = wrap(network, size=64), images(64)
    with torch.no_grad():
        answers = network(batch)["out"].argmax(1)
    common = int(answers[0].flatten().mode().values)
    whole = MeanOverAnswers(inplace(copy.deepcopy(network), False), answers)
    method = LayerGradCam(whole, whole.network.get_submodule(rectifier))
    for side in ("pre", "post"):
        ours = gradcam(model, batch, classes=[common], side=side)
        theirs = method.attribute(batch, target=common, attribute_to_layer_input=side == "pre")
        assert theirs.abs().max() > 0
        assert_same(ours.maps, theirs.detach())
        torch.testing.assert_close(ours.scores, whole(batch).detach()[:, [common]])
    # The same target as a function, and one pixel against captum on a wrapper that selects it.

    def mean_logit(out):
        mask = out.argmax(1) == common
        return (out[:, common] * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)

    own = gradcam(model, batch, side="post", target=mean_logit)
    assert_same(own.maps, ours.maps)
    pixel = gradcam(model, batch, classes=[1], pixel=(20, 41), side="post")
    captum = LayerGradCam(
        lambda x: network(x)["out"][:, :, 20, 41], network.get_submodule(rectifier)
    )
    assert_same(pixel.maps, captum.attribute(batch, target=1).detach())
