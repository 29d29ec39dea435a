"""Grad-CAM against captum, against gradients of single branches and against closed forms."""

import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from convlens import ConvlensError, gradcam, trace, wrap
from convlens.analyses.gradcam.gradcam import GradCam

SIZE = 64


def images(count=2, size=SIZE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


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


# classes


@pytest.fixture(scope="module")
def pooled():
    labels = ("tabby, tabby cat", "dog", "crane", "crane")
    return wrap(Pooled(nn.ReLU(inplace=True)), size=SIZE, labels=labels)


def test_several_classes_at_once_equal_one_by_one(pooled):
    together = gradcam(pooled, images(), classes=[2, 0, 3])
    for rank, index in enumerate((2, 0, 3)):
        alone = gradcam(pooled, images(), classes=index)
        assert_same(together.maps[:, rank], alone.maps[:, 0])
        assert torch.equal(together.scores[:, rank], alone.scores[:, 0])
    assert together.classes.tolist() == [[2, 0, 3]] * 2


def test_classes_of_each_image(pooled):
    classes = torch.tensor([[3, 1], [0, 2]])
    cam = gradcam(pooled, images(), classes=classes)
    assert torch.equal(cam.classes, classes)
    for image in range(2):
        alone = gradcam(pooled, images()[image : image + 1], classes=classes[image].tolist())
        assert_same(cam.maps[image], alone.maps[0])
        assert cam.names[image] == alone.names[0]


@pytest.mark.parametrize("normal", [nn.Identity(), nn.BatchNorm2d(6), nn.GroupNorm(2, 6)])
def test_a_map_does_not_depend_on_its_batch_mates(normal):
    network = Pooled(nn.Sequential(normal, nn.ReLU(inplace=True))).train()
    model = wrap(network, size=SIZE)
    four = images(4)
    together = gradcam(model, four, classes=[0, 1])
    for image in range(4):
        alone = gradcam(model, four[image : image + 1], classes=[0, 1])
        assert_same(together.maps[image], alone.maps[0])
    mates = torch.cat([four[:1], images(3, seed=9)])
    assert_same(gradcam(model, mates, classes=[0, 1]).maps[0], together.maps[0])


def test_default_is_the_highest_scoring_classes(pooled):
    cam = gradcam(pooled, images(), top=4)
    with torch.no_grad():
        logits = pooled.network(images())
    order = logits.argsort(dim=1, descending=True)
    assert torch.equal(cam.classes, order)
    torch.testing.assert_close(cam.scores, logits.gather(1, order))
    torch.testing.assert_close(cam.probabilities, logits.softmax(1).gather(1, order))
    assert gradcam(pooled, images()).classes.tolist() == order[:, :1].tolist()


def test_classes_by_name_and_index(pooled):
    cam = gradcam(pooled, images(), classes=["Tabby Cat", 1, "dog", "0"])
    assert cam.classes.tolist() == [[0, 1, 1, 0]] * 2
    assert cam.names[0] == ("tabby", "dog", "dog", "tabby")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("dgo", r"unknown class 'dgo'; nearest: dog"),
        ("crane", r"'crane' is the name of classes 2, 3"),
        (4, r"class 4 of 4; give an index of 0 to 3"),
        (-1, r"class -1 of 4"),
        (torch.tensor([[0], [4]]), r"class outside 0 to 3"),
        (torch.tensor([0, 1]), r"classes of shape \(2,\) for 2 images"),
        (torch.tensor([[0]]), r"classes of shape \(1, 1\) for 2 images"),
        ([], r"class"),
    ],
)
def test_class_that_cannot_be_used(pooled, classes, message):
    with pytest.raises(ConvlensError, match=message):
        gradcam(pooled, images(), classes=classes)


@pytest.mark.parametrize("top", [0, 5, -1])
def test_top_out_of_range(pooled, top):
    with pytest.raises(ConvlensError, match=f"top {top} of 4"):
        gradcam(pooled, images(), top=top)


def test_softmax_at_the_end_is_left_out(pooled):
    ended = nn.Sequential(pooled.network, nn.Softmax(dim=1))
    cam = gradcam(wrap(ended, size=SIZE), images(), classes=[1])
    assert_same(cam.maps, gradcam(pooled, images(), classes=[1]).maps)


# layers


def test_layer_by_name(pooled):
    cam = gradcam(pooled, images(), classes=1, layer="first")
    theirs = LayerGradCam(pooled.network, pooled.network.first).attribute(images(), target=1)
    assert_same(cam.maps, theirs.detach())
    assert cam.nodes == ("first",)
    assert cam.maps.shape == (2, 1, SIZE, SIZE)


def test_layer_that_cannot_be_used(pooled):
    with pytest.raises(ConvlensError, match=r"no layer 'frist'.*nearest: first"):
        gradcam(pooled, images(), layer="frist")
    with pytest.raises(ConvlensError, match=r"linear of Pooled gives \(1, 4\).*not maps"):
        gradcam(pooled, images(), layer="linear")
    with pytest.raises(ConvlensError, match="no side 'both'"):
        gradcam(pooled, images(), side="both")  # type: ignore[arg-type]


def test_network_without_maps_and_output_that_is_no_vector():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 5))
    with pytest.raises(ConvlensError, match="no final convolutional layer"):
        gradcam(wrap(flat, size=SIZE), images())
    maps = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 5), nn.Flatten(2))
    with pytest.raises(ConvlensError, match="needs one vector of class scores"):
        gradcam(wrap(maps, size=SIZE), images())


def test_layer_that_leads_to_no_logit_has_a_map_of_zeros():
    class Aside(Pooled):
        def __init__(self):
            super().__init__(nn.ReLU())
            self.side = conv(3, 2)

        def forward(self, x):
            self.side(x)
            return super().forward(x)

    for classes in ([1], [0, 1, 2]):
        cam = gradcam(wrap(Aside(), size=SIZE), images(), classes=classes, layer="side")
        assert cam.maps.shape == (2, len(classes), SIZE, SIZE)
        assert not cam.maps.any()


class ChannelsLast(nn.Module):
    """The same values, with the channels of `mixed` last or second."""

    def __init__(self, last):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.mixed, self.linear = conv(3, 6, stride=2), nn.Linear(6, 8), nn.Linear(8, 4)
        self.turned, self.last = nn.Identity(), last

    def forward(self, x):
        x = self.mixed(self.first(x).permute(0, 2, 3, 1))
        x = x if self.last else self.turned(x.permute(0, 3, 1, 2))
        return self.linear(x.square().mean((1, 2) if self.last else (2, 3)))


def test_layer_with_channels_last_gives_the_map_of_the_permuted_one():
    ours, expected = (
        gradcam(wrap(ChannelsLast(last), size=SIZE), images(), classes=[0, 2],
                layer="mixed" if last else "turned")
        for last in (True, False)
    )  # fmt: skip
    assert_same(ours.maps, expected.maps)
    assert_same(ours.alpha, expected.alpha)
    network = ChannelsLast(False)
    theirs = LayerGradCam(network, network.turned).attribute(images(), target=2)
    assert_same(ours.maps[:, 1:], theirs.detach())


def test_swins_norm_has_the_map_of_its_permuted_output():
    torch.manual_seed(0)
    network = torchvision.models.SwinTransformer(
        [4, 4], 12, [1, 1], [3, 3], [4, 4], num_classes=5
    ).eval()
    cam = gradcam(wrap(network, size=SIZE), images(), classes=[1], layer="norm")
    theirs = LayerGradCam(network, network.permute).attribute(images(), target=1)
    assert_same(cam.maps, theirs.detach())
    # Attention sees the whole image, but the cells keep their order on the image.
    for centers in (cam.centers_y, cam.centers_x):
        assert (centers.diff() > 0).all()


# where the maps lie on the image


@pytest.mark.parametrize("pixel", [(20, 36), (41, 9), (30, 30)])
def test_peak_lies_where_the_hot_pixels_field_center_is(pixel):
    """A linear network of positive weights, a black image, one white pixel."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=2, padding=2, bias=False),
        nn.Conv2d(2, 3, 3, stride=2, padding=0, bias=False),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2, bias=False),
    )  # fmt: skip
    for module in network:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.ones_(module.weight)
    # A triangle filter: the cell whose center is nearest to the pixel responds most.
    triangle = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0])
    network[0].weight.data[:] = triangle[:, None] * triangle
    image = torch.zeros(1, 1, 51, 55)
    image[0, 0, pixel[0], pixel[1]] = 1
    model = wrap(network, size=(51, 55))
    cam = gradcam(model, image, classes=0, layer="1")
    y, x = divmod(int(cam.maps[0, 0].argmax()), cam.maps.shape[-1])
    field = trace(model).field(trace(model).find_node("1"))
    assert field.low[0][y] <= pixel[0] <= field.high[0][y]
    assert field.low[1][x] <= pixel[1] <= field.high[1][x]
    whole = cam.on_image()[0, 0]
    assert whole.shape == (51, 55)
    peak = (whole == whole.max()).nonzero().double().mean(0)
    # Cells are 4 pixels apart, so the nearest center is at most 2 pixels from the white pixel.
    assert (peak - torch.tensor(pixel).double()).abs().max() <= 2
    assert float(field.centers[0][y]) == 2 * 2 * y - 2 + (field.size[0] - 1) / 2
    torch.testing.assert_close(
        whole[int(cam.centers_y[y]), int(cam.centers_x[x])], cam.maps[0, 0, y, x]
    )


def test_a_cell_of_the_map_is_seen_at_its_center_all_over_the_image():
    network = Pooled(nn.ReLU())
    cam = gradcam(wrap(network, size=SIZE), images(), classes=[0, 1])
    # second: kernel 3, stride 2, padding 1 after a 3 by 3: centers at 0, 2, 4, ...
    assert cam.centers_y.tolist() == list(range(0, SIZE, 2))
    assert torch.equal(cam.on_image()[..., ::2, ::2], cam.maps)
    middle = cam.on_image()[..., 1:-1:2, ::2]
    between = (cam.maps[..., :-1, :] + cam.maps[..., 1:, :]) / 2
    torch.testing.assert_close(middle, between, rtol=1e-5, atol=1e-8)


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
    assert len(list((tmp_path / "cam").glob("*.png"))) == 4
    assert gradcam(pooled, images(seed=1), top=2) != cam


def test_overlays_are_red_where_the_map_speaks_for_the_class(pooled):
    cam = gradcam(pooled, torch.full((1, 3, SIZE, SIZE), 0.5), classes=[0, 1, 2])
    shades = cam.overlays().int()
    assert shades.shape == (1, 3, SIZE, SIZE, 3)
    strong = cam.on_image().abs() > cam.scale / 4
    redder = shades[..., 0] > shades[..., 2]
    assert torch.equal(redder[strong], (cam.on_image() > 0)[strong])
    assert strong.any()
