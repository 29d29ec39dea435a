"""Grad-CAM against captum, against gradients of single branches and against closed forms."""

import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from convlens import ConvlensError, gradcam, wrap
from convlens.analyses.gradcam.gradcam import GradCam
from support.gradcam_networks import SIZE, Pooled, assert_same, images

pytest_plugins = "support.gradcam_networks"


def network_of(name, **options):
    torch.manual_seed(0)
    return getattr(torchvision.models, name)(weights=None, **options).eval()


def awake(network):
    """Initialize weights so that activations do not vanish, and set batch norm statistics."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(images(8, seed=5))
    return network.eval()


# against captum


def residual_sum(network):
    """ResNet-50 with its last sum and ReLU as modules, which captum takes as layers."""

    class Last(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block, self.sum, self.relu = block, nn.Identity(), nn.ReLU()

        def forward(self, x):
            block = self.block
            out = block.relu(block.bn1(block.conv1(x)))
            out = block.relu(block.bn2(block.conv2(out)))
            return self.relu(self.sum(block.bn3(block.conv3(out)) + x))

    network.layer4[2] = Last(network.layer4[2])
    return network, network.layer4[2].sum, network.layer4[2].relu


def densenet(network):
    """DenseNet with its last ReLU as a module, which captum takes as a layer."""

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.relu = network.features, nn.ReLU()
            self.classifier = network.classifier

        def forward(self, x):
            return self.classifier(self.relu(self.features(x)).mean((2, 3)))

    whole = Whole().eval()
    return whole, whole.features.norm5, whole.relu


def out_of_place(network):
    """Make all ReLUs work out of place: an in-place one overwrites what captum captures."""
    for module in network.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
    return network


ORACLES = {
    "vgg16": lambda n: (n, n.features[28], n.features[29]),
    "resnet50": residual_sum,
    "mobilenet_v2": lambda n: (n, n.features[18][1], n.features[18][2]),
    "densenet121": densenet,
    "squeezenet1_0": lambda n: (n, n.classifier[1], n.classifier[2]),
}


@pytest.fixture(scope="module", params=ORACLES)
def beside_captum(request):
    options = {"init_weights": False} if request.param == "vgg16" else {}
    network = awake(network_of(request.param, num_classes=10, **options))
    ours = {side: gradcam(wrap(network, size=SIZE), images(), classes=[3, 7], side=side)
            for side in ("pre", "post")}  # fmt: skip
    captum_network, pre, post = ORACLES[request.param](out_of_place(network))
    theirs = {
        side: torch.stack(
            [
                LayerGradCam(captum_network, layer).attribute(images(), target=k)[:, 0]
                for k in (3, 7)
            ],
            1,
        )
        for side, layer in (("pre", pre), ("post", post))
    }
    return ours, theirs


@pytest.mark.parametrize("side", ["pre", "post"])
def test_maps_equal_captums(beside_captum, side):
    ours, theirs = (cams[side] for cams in beside_captum)
    assert ours.maps.abs().max() > 1e-4
    assert_same(ours.maps, theirs.detach())


def test_pre_and_post_are_not_the_same(beside_captum):
    ours, _ = beside_captum
    pre, post = ours["pre"].maps, ours["post"].maps
    assert (pre - post).abs().max() > 1e-2 * post.abs().max()


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("side", ["pre", "post"])
def test_small_network_with_in_place_relu_equals_captum_without(side, inplace):
    network = Pooled(nn.ReLU(inplace=inplace))
    ours = gradcam(wrap(network), images(), classes=[1], side=side)
    network.relu.inplace = False
    layer = {"pre": network.second, "post": network.relu}[side]
    assert_same(ours.maps, LayerGradCam(network, layer).attribute(images(), target=1).detach())


@pytest.mark.slow
def test_googlenets_pre_side_is_its_four_branches():
    network = awake(network_of("googlenet", init_weights=False, aux_logits=False, num_classes=10))
    ours = gradcam(wrap(network, size=SIZE), images(), classes=[3])
    # The branches end in an out-of-place F.relu after these layers, so plain hooks will do.
    block = network.inception5b
    layers = [block.branch1.bn, block.branch2[1].bn, block.branch3[1].bn, block.branch4[1].bn]
    pre_maps = []
    handles = [
        layer.register_forward_hook(
            lambda module, inputs, output: pre_maps.append(output) or output.clone()
        )
        for layer in layers
    ]
    logits = network(images())
    for handle in handles:
        handle.remove()
    slopes = torch.autograd.grad(logits[:, 3].sum(), pre_maps)
    expected = sum(
        (slope.mean((2, 3), keepdim=True) * value).sum(1)
        for slope, value in zip(slopes, pre_maps, strict=True)
    )
    assert_same(ours.maps[:, 0], expected.detach())
    wide = torch.cat([slope.mean((2, 3)) for slope in slopes], 1)
    assert_same(ours.alpha[:, 0], wide)
    assert ours.nodes == tuple(
        f"inception5b.{name}" for name in ("branch1.bn", "branch2.1.bn", "branch3.1.bn",
                                           "branch4.1.bn")
    )  # fmt: skip
    post = gradcam(wrap(network, size=SIZE), images(), classes=[3], side="post")
    theirs = LayerGradCam(network, block).attribute(images(), target=3)
    assert_same(post.maps, theirs.detach())


# by hand


class OneConvolution(nn.Module):
    """captum's BasicModel_ConvNet_One_Conv, written again."""

    def __init__(self, inplace):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 2, 3, 1), nn.ReLU(inplace=inplace)
        self.fc1, self.relu2 = nn.Linear(8, 4), nn.ReLU(inplace=inplace)
        with torch.no_grad():
            self.conv1.weight.fill_(1)
            self.conv1.bias.copy_(torch.tensor([-50.0, -75.0]))
            self.fc1.weight.copy_(torch.cat([torch.ones(4, 5), -torch.ones(4, 3)], 1))
            self.fc1.bias.zero_()

    def forward(self, x):
        return self.relu2(self.fc1(self.relu1(self.conv1(x)).view(-1, 8)))


@pytest.mark.parametrize("inplace", [False, True])
def test_hand_worked_case(inplace):
    network = OneConvolution(inplace)
    model = wrap(network, size=4, bounds=(0, 15))
    image = torch.arange(16.0).view(1, 1, 4, 4)
    maps = {
        layer: gradcam(model, image, classes=0, layer=layer, side="output").maps[0, 0].tolist()
        for layer in ("conv1", "relu1")
    }
    assert maps == {
        "conv1": [[11.25, 13.5], [20.25, 22.5]],
        "relu1": [[0.0, 4.0], [28.0, 32.5]],
    }


def test_class_activation_mapping_in_closed_form():
    network = Pooled(nn.ReLU(inplace=True))
    model = wrap(network, size=SIZE)
    with torch.no_grad():
        pre = network.second(network.first(images()).tanh())
    count = pre[0, 0].numel()
    post = gradcam(model, images(), classes=list(range(4)), side="post")
    torch.testing.assert_close(
        post.alpha, (network.linear.weight.detach() / count).expand(2, 4, 6), rtol=1e-5, atol=0
    )
    before = gradcam(model, images(), classes=list(range(4)), side="pre")
    share = (pre > 0).float().mean((2, 3))[:, None]
    expected = network.linear.weight.detach() / count * share
    torch.testing.assert_close(before.alpha, expected, rtol=1e-5, atol=0)
    # The map of the definition, as a plain loop.
    for image in range(2):
        for rank in range(4):
            total = torch.zeros(pre.shape[2:])
            for channel in range(6):
                total += expected[image, rank, channel] * pre[image, channel]
            torch.testing.assert_close(before.maps[image, rank], total, rtol=1e-4, atol=1e-7)


# NaN and infinity


@pytest.mark.parametrize("layer", ["first.weight", "second.bias", "linear.weight"])
def test_nan_in_weights_is_an_error(layer):
    network = Pooled(nn.ReLU(inplace=True))
    network.get_parameter(layer).data.view(-1)[0] = torch.nan
    with pytest.raises(ConvlensError, match="NaN"):
        gradcam(wrap(network, size=SIZE), images())


def test_nan_in_the_gradient_is_an_error():
    class Norm(Pooled):
        def forward(self, x):
            x = self.relu(self.second(self.first(x).tanh()))
            return self.linear(x.square().mean((2, 3)).sqrt())  # infinite slope at a dead channel

    network = Norm(nn.ReLU())
    nn.init.constant_(network.second.bias[:1], -100)
    with torch.no_grad():
        assert network(images()).isfinite().all()
    with pytest.raises(ConvlensError, match=r"NaN|finite"):
        gradcam(wrap(network, size=SIZE), images())


# the result


def test_saved_result_is_equal_after_loading(pooled, tmp_path):
    cam = gradcam(pooled, images(), top=2)
    cam.save(tmp_path / "cam")
    again = GradCam.load(tmp_path / "cam")
    assert again == cam
    for name in ("maps", "alpha", "classes", "scores", "centers_y", "images"):
        assert torch.equal(getattr(again, name), getattr(cam, name))
    assert (again.names, again.nodes, again.bounds) == (cam.names, cam.nodes, cam.bounds)
    assert len(list((tmp_path / "cam").glob("image_*.png"))) == 4
    assert gradcam(pooled, images(seed=1), top=2) != cam


def test_overlays_are_red_where_the_map_speaks_for_the_class(pooled):
    cam = gradcam(pooled, torch.full((1, 3, SIZE, SIZE), 0.5), classes=[0, 1, 2])
    shades = cam.overlays().int()
    assert shades.shape == (1, 3, SIZE, SIZE, 3)
    strong = cam.on_image().abs() > cam.scale / 4
    redder = shades[..., 0] > shades[..., 2]
    assert torch.equal(redder[strong], (cam.on_image() > 0)[strong])
    assert strong.any()
