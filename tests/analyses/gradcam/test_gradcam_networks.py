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
    """Weights that carry a signal to the end, and batch norms that have seen images."""
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


def inplace(network, wanted):
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = wanted
    return network


def parted(network):
    """Timm's norm with its activation, as two modules that captum can be handed."""
    whole = network.bn2
    norm = nn.BatchNorm2d(whole.num_features, eps=whole.eps)
    norm.load_state_dict(whole.state_dict())
    network.bn2 = nn.Sequential(norm, nn.ReLU6()).eval()
    return network.bn2[0], network.bn2[1]


# How to make it, its smallest size, and where captum finds the pre and the post side in a copy
# whose rectifiers work out of place; a module twice: its input and its output.
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


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.fixture(scope="module", params=CASES)
def case(request):
    torch.manual_seed(0)
    make, size, _ = CASES[request.param]
    network = awake(make(), size)
    return request.param, network, size


@pytest.mark.parametrize("in_place", [True, False])
def test_maps_equal_captums_on_both_sides(case, in_place):
    name, network, size = case
    other = inplace(copy.deepcopy(network), False)
    pre, post = CASES[name][2](other)
    model = wrap(inplace(network, in_place), size=size)
    sides: list[Any] = [("pre", pre), ("post", post)]
    for side, layer in sides:
        ours = gradcam(model, images(size), classes=list(CLASSES), side=side)
        at_input = side == "pre" and name in AT_INPUT
        maps = [
            LayerGradCam(other, layer).attribute(
                images(size), target=one, attribute_to_layer_input=at_input
            )
            for one in CLASSES
        ]
        theirs = torch.cat(maps, dim=1).detach()
        assert theirs.abs().max() > 1e-6
        assert_same(ours.maps, theirs)


@pytest.mark.parametrize("case", POOLED, indirect=True)
def test_class_activation_mapping_where_the_head_is_pooling_and_one_linear_layer(case):
    """alpha_k = w_k / M on the post side (Zhou et al. 2016)."""
    _, network, size = case
    found = gradcam(wrap(network, size=size), images(size), classes=list(CLASSES), side="post")
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    cells = found.maps[0, 0].numel()
    wanted = (head.weight.detach()[list(CLASSES)] / cells).expand_as(found.alpha)
    torch.testing.assert_close(found.alpha, wanted, rtol=1e-4, atol=1e-8)


def test_inceptions_branches_end_in_place():
    """The last block concatenates what six functional ReLUs gave: against a plain loop."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(weights=None, init_weights=False, num_classes=10)
    network.aux_logits, network.AuxLogits = False, None
    network = awake(network, 139)
    block = network.Mixed_7c
    ends = ("branch1x1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_3a", "branch3x3dbl_3b",
            "branch_pool")  # fmt: skip
    kept = []
    handles = [
        getattr(block, end).bn.register_forward_hook(
            lambda module, given, gave: kept.append(gave) or gave.clone()
        )
        for end in ends
    ]
    logits = network(images(139))
    for handle in handles:
        handle.remove()
    # In the order in which they ran; the concatenation has another, which a sum does not see.
    slopes = torch.autograd.grad(logits[:, 3].sum(), kept)
    wanted = sum(
        (slope.mean((2, 3), keepdim=True) * value).sum(1)
        for slope, value in zip(slopes, kept, strict=True)
    )
    model = wrap(network, size=139)
    ours = gradcam(model, images(139), classes=[3])
    assert_same(ours.maps[:, 0], wanted.detach())
    assert set(ours.nodes) == {f"Mixed_7c.{end}.bn" for end in ends}
    post = gradcam(model, images(139), classes=[3], side="post")
    theirs = LayerGradCam(network, block).attribute(images(139), target=3)
    assert_same(post.maps, theirs.detach())


class MeanOverAnswers(nn.Module):
    """For each class its mean logit over the pixels whose answer it is, as a vector."""

    def __init__(self, network, answers):
        super().__init__()
        self.network, self.answers = network, answers

    def forward(self, x):
        out = self.network(x)["out"]
        masks = [self.answers == one for one in range(out.shape[1])]
        sums = [
            (out[:, one] * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
            for one, mask in enumerate(masks)
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
    model, given = wrap(network, size=64), images(64)
    with torch.no_grad():
        answers = network(given)["out"].argmax(1)
    common = int(answers[0].flatten().mode().values)
    whole = MeanOverAnswers(inplace(copy.deepcopy(network), False), answers)
    method = LayerGradCam(whole, whole.network.get_submodule(rectifier))
    for side in ("pre", "post"):
        ours = gradcam(model, given, classes=[common], side=side)
        theirs = method.attribute(given, target=common, attribute_to_layer_input=side == "pre")
        assert theirs.abs().max() > 0
        assert_same(ours.maps, theirs.detach())
        torch.testing.assert_close(ours.scores, whole(given).detach()[:, [common]])
    # The same by a plain callable, and a pixel against captum with its own selection.

    def chosen(out):
        mask = out.argmax(1) == common
        return (out[:, common] * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)

    own = gradcam(model, given, side="post", target=chosen)
    assert_same(own.maps, ours.maps)
    pixel = gradcam(model, given, classes=[1], pixel=(20, 41), side="post")
    other = LayerGradCam(
        lambda x: network(x)["out"][:, :, 20, 41], network.get_submodule(rectifier)
    )
    assert_same(pixel.maps, other.attribute(given, target=1).detach())
