"""What the trace says about structure: names, pre and post, logits, the final node."""

import math
import warnings

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from convlens import ConvlensError, TraceError, anatomy, gradcam, predict, trace, wrap
from convlens.capture import capture_nodes

SIZE = 16


def conv(given, gave, kernel=3, **options):
    return nn.Conv2d(given, gave, kernel, padding=kernel // 2, **options)


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
        self.head = Head(channels)
        self.function = function

    def forward(self, x):
        return self.head(self.function(self, self.first(x)))


def traced(network, size=SIZE):
    return trace(wrap(network, size=size))


def images(count=2, size=SIZE):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def sides(found):
    return found.name(found.final_layer.post), [
        found.name(value) for value in found.final_layer.pre
    ]


# names


def test_module_that_runs_three_times_has_three_names():
    network = Net(lambda net, x: net.relu(net.relu(net.relu(x) - 1) * 2), relu=nn.ReLU())
    found = traced(network)
    values = [found.find_node(f"relu#{run}") for run in (1, 2, 3)]
    assert len(set(values)) == 3 and values == sorted(values)
    assert found.find_node("relu") == values[2]
    assert found.find_node("relu#1:in") == found.find_node("first")
    assert found.find_node("relu#2:in") == found.find_node("/sub")
    assert found.find_node("relu:in") == found.find_node("relu#3:in") == found.find_node("/mul")
    with pytest.raises(ConvlensError, match="relu#4"):
        found.find_node("relu#4")


def test_operations_of_one_name_are_numbered():
    found = traced(Net(lambda net, x: x + (x.relu() + 1) + F.relu(-x)))
    relus, sums = (
        [found.find_node(f"/{name}{mark}") for mark in marks]
        for name, marks in (("relu", ("", "#2")), ("add", ("", "#2", "#3")))
    )
    assert len(set(relus)) == 2 and len(set(sums)) == 3
    assert sums[2] == found.find_node("head:in")
    assert all(found.structure.is_post(value) for value in relus)


def test_functional_relu_is_a_place_with_pre_and_post():
    found = traced(Net(lambda net, x: F.relu(x)))
    assert sides(found) == ("/relu", ["first"])
    assert found.structure.is_pre(found.find_node("first"))
    assert found.structure.is_post(found.find_node("/relu"))


def test_image_is_a_place():
    found = traced(Net(lambda net, x: x))
    assert found.find_node("image") == 0 and found.name(0) == "image"
    assert found.shape(0) == (1, 3, SIZE, SIZE) and found.image_size == (SIZE, SIZE)


def test_parts_of_a_tuple_are_told_apart():
    def gated(net, x):
        gate, kept = x.split([1, 3], 1)
        return gate.relu() * kept

    found = traced(Net(gated, 3))
    assert found.shape(found.find_node("/split")) == (1, 1, SIZE, SIZE)
    assert found.shape(found.find_node("/split.1")) == (1, 3, SIZE, SIZE)


def test_layer_name_wins_over_part_of_a_tuple():
    class Three(nn.Module):
        def forward(self, parts):
            return parts[0] + 1, parts[1] * 2, parts[2] - 3

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.ModuleList([conv(3, 4), conv(3, 5), conv(3, 6)])
            self.parts = nn.Sequential(Three(), Three(), Three())
            self.heads = nn.ModuleList([Head(4), Head(5), Head(6)])

        def forward(self, x):
            parts = self.parts(tuple(layer(x) for layer in self.first))
            return sum(head(part) for head, part in zip(self.heads, parts, strict=True))

    found = traced(Whole())
    # `parts.2` is a layer; it is also how the third tensor of `parts` would be written.
    for number in range(3):
        assert found.find_node(f"parts.{number}") == found.find_node(f"parts.{number}/add")


def test_unknown_name_is_told_with_the_nearest():
    found = traced(torchvision.models.alexnet(weights=None), 64)
    with pytest.raises(ConvlensError, match=r"no layer 'feature\.10'.*nearest: .*features\.10"):
        found.find_node("feature.10")
    with pytest.raises(ConvlensError, match="64 x 64"):
        found.find_node("nothing at all")


def test_every_name_can_be_found():
    found = traced(torchvision.models.resnet18(weights=None), 64)
    for name in found.names():
        assert 0 <= found.find_node(name) < len(found.recording.shapes)
    named = dict(torchvision.models.resnet18(weights=None).named_modules())
    assert set(named) - {""} == {name for name in found.names() if name in named}


# in place


def test_in_place_sum_is_pre_and_its_relu_post():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = conv(4, 4), nn.ReLU(inplace=True)

        def forward(self, x):
            out = self.conv(x)
            out += x
            return self.relu(out)

    found = traced(Net(lambda net, x: net.block(x), block=Block()))
    assert sides(found)[1] == ["block/add"]
    assert found.final_layer.post == found.find_node("block") == found.find_node("block.relu")
    assert found.find_node("block/add") not in (
        found.find_node("block.conv"),
        found.find_node("block"),
    )


def discarded(net, x):
    net.relu(x)
    return x


def through_view(net, x):
    x[:, :3].relu_()
    return net.second(x)


def through_data(net, x):
    x.data.relu_()
    return net.second(x)


def discarded_function(net, x):
    F.relu_(x)
    return x


@pytest.mark.parametrize(
    ("function", "parts"),
    [(discarded, {"relu": nn.ReLU(inplace=True)}), (discarded_function, {})],
)
def test_what_an_in_place_relu_leaves_is_read_though_its_return_is_discarded(function, parts):
    found = traced(Net(function, **parts))
    (pre,) = found.final_layer.pre
    assert found.name(pre) == "first"
    assert found.structure.is_post(found.final_layer.post)
    assert found.find_node("head:in") == found.final_layer.post != pre


@pytest.mark.parametrize("function", [through_view, through_data])
def test_write_through_an_alias_reaches_what_reads_the_memory(function):
    found = traced(Net(function, second=conv(4, 4)))
    before, after = found.find_node("first"), found.find_node("second:in")
    assert before != after
    made = {operation.name for operation in found.recording.operations}
    assert "relu" in made
    passages = found.structure.nodes_on_every_path(found.logits)
    assert after in passages and before in passages
    field = found.field(found.find_node("second"))
    assert field.size == (5, 5)


# the end: logits


class Ending(nn.Module):
    def __init__(self, end, spatial=False):
        super().__init__()
        self.first, self.linear, self.end = conv(3, 5), nn.Linear(5, 5), end
        self.spatial = spatial

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.first(x).relu(), 1)
        return self.end(x if self.spatial else self.linear(x.flatten(1)))


@pytest.mark.parametrize(
    "end",
    [
        nn.Softmax(dim=1),
        nn.LogSoftmax(dim=1),
        lambda x: F.log_softmax(x, dim=1),
        lambda x: F.softmax(x, dim=1).view(-1, 5),
        lambda x: F.softmax(x, -1).clone().unsqueeze(1).squeeze(1),
    ],
)
def test_softmax_at_the_end_is_seen_through(end):
    network = Ending(end)
    found = traced(network)
    assert found.logits == found.find_node("linear") != found.recording.output
    wanted = network.linear(network.first(images()).relu().mean((2, 3)))
    torch.testing.assert_close(predict(wrap(network, size=SIZE), images()).logits, wanted)


@pytest.mark.parametrize(
    "end",
    [
        lambda x: F.softmax(x, dim=1).flatten(1),
        lambda x: F.log_softmax(x, dim=1).squeeze(-1).squeeze(-1),
    ],
)
def test_softmax_before_flattening_still_gives_one_vector_of_logits(end):
    network = Ending(end, spatial=True)
    wanted = network.first(images()).relu().mean((2, 3))
    said = predict(wrap(network, size=SIZE), images())
    torch.testing.assert_close(said.probabilities, wanted.softmax(1))


def test_softmax_in_the_middle_or_of_attention_is_no_end():
    network = Net(lambda net, x: x * x.softmax(1))
    found = traced(network)
    assert found.logits == found.recording.output == found.find_node("head.linear")


# networks that look at their data


def branching(net, x):
    return x.relu() if x.mean() > 0 else -x


def with_item(net, x):
    return x * x.abs().max().item()


def through_numpy(net, x):
    return torch.from_numpy(np.tanh(x.numpy()))


@pytest.mark.parametrize("function", [branching, with_item, through_numpy])
def test_data_dependent_network_is_traced_for_this_input(function):
    network = Net(function)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = trace(wrap(network, size=SIZE), images())
    assert found.valid_for == "this input"
    assert found.shape(found.logits) == (1, 5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert traced(Net(lambda net, x: x.relu())).valid_for == "any input of this size"


def test_branch_follows_the_image_that_is_given():
    network = Net(branching)
    nn.init.zeros_(network.first.weight)
    for bias, name in ((1.0, "/relu"), (-1.0, "/neg")):
        nn.init.constant_(network.first.bias, bias)
        found = trace(wrap(network, size=SIZE), images())
        assert name in list(found.names())


def test_network_that_fails_says_so_in_one_line():
    with pytest.raises(TraceError, match=r"does not run on an image of 3 x 16 x 16: ") as caught:
        traced(Net(lambda net, x: net.wrong(x), wrong=conv(7, 4)))
    assert "\n" not in str(caught.value)


def test_size_that_a_fully_connected_stage_forbids():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(196, 5))
    with pytest.raises(TraceError, match=r"stage 3 takes 196 values and gets 3,844; average pool"):
        trace(wrap(network, size=64))
    assert trace(wrap(network, size=16)).shape(0) == (1, 3, 16, 16)


@pytest.mark.parametrize("branches", [False, True])
def test_size_that_shrinks_below_a_pixel(branches):
    """Which layer, what it is given, and the least size: 2 (2 + 2 (2 + 2)) + 2 = 22."""

    class Stack(nn.Sequential):
        def forward(self, x):
            if branches and float(x.sum()) > 1e9:  # no fake tensor can tell
                return x
            return super().forward(x)

    pooled = [part for _ in range(3) for part in (nn.Conv2d(3, 3, 3), nn.MaxPool2d(2))]
    network = Stack(*pooled)
    with pytest.raises(TraceError, match=r"layer 4 is given 2 x 2 .* give at least 22 x 22" if not
                       branches else r"layer 4 is given 2 x 2"):  # fmt: skip
        trace(wrap(network, size=16))
    assert trace(wrap(network, size=22)).shape(trace(wrap(network, size=22)).recording.output)


# nothing of the user's is touched


@pytest.mark.parametrize("branches", [False, True])
def test_what_runs_before_a_stage_that_does_not_fit_is_traced_in_part(branches):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.linear = conv(3, 4), conv(4, 4), nn.Linear(4 * 256, 5)

        def forward(self, x):
            x = self.second(self.first(x).relu()).relu()
            if branches and float(x.sum()) < -1e9:
                x = x * 0
            return self.linear(x.flatten(1))

    model = wrap(Flat(), size=16)
    found = trace(model, size=(12, 10), partly=True)
    value = found.find_node("second")
    assert found.shape(value) == (1, 4, 12, 10)
    assert [one.layer for one in found.convolutions] == ["first", "second"]
    image = torch.rand(2, 3, 12, 10)
    inner = model.network
    with torch.no_grad():
        expected = inner.second(inner.first(image).relu())
    assert torch.equal(capture_nodes(model, found, image, [value])[value], expected)
    with pytest.raises(
        TraceError, match="does not run to its end: the fully connected stage linear"
    ):
        found.logits  # noqa: B018 # it raises
    with pytest.raises(ConvlensError, match="ends early: the fully connected stage linear takes"):
        found.find_node("third")
    with pytest.raises(TraceError, match="linear"):
        trace(model, size=(12, 10))
    assert not trace(model, partly=True).recording.stopped


class Caching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head, self.kept = conv(3, 4), Head(), None

    def forward(self, x):
        self.kept = self.first(x).relu()
        return self.head(self.kept)


def test_cached_tensor_on_the_users_module_is_not_a_fake_one():
    network = Caching()
    traced(network)
    assert network.kept is None


def test_network_that_keeps_a_tensor_with_a_graph_is_traced():
    network = Caching()
    network(images())
    assert network.kept.grad_fn is not None
    found = traced(network)
    assert found.valid_for == "any input of this size"
    assert sides(found) == ("/relu", ["first"])
    assert not isinstance(network.kept, FakeTensor)


def test_old_style_weight_norm_after_a_forward_pass_is_traced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = nn.Sequential(nn.utils.weight_norm(conv(3, 4)), nn.ReLU(), Head())
    network(images())
    assert sides(traced(network)) == ("1", ["0"])


def test_users_hook_keeps_no_fake_tensor():
    network, kept = nn.Sequential(conv(3, 4), nn.ReLU(), Head()), {}
    network[0].register_forward_hook(lambda module, given, gave: kept.__setitem__("0", gave))
    traced(network)
    assert not isinstance(kept.get("0"), FakeTensor)


def test_batch_norm_in_training_mode_is_not_counted():
    network = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), Head()).train()
    network(images())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    traced(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())


def test_trace_in_inference_mode_is_the_same_and_spoils_nothing():
    model = wrap(nn.Sequential(conv(3, 4), nn.ReLU(), Head()), size=SIZE)
    with torch.inference_mode():
        inside = trace(model)
        assert sides(inside) == ("1", ["0"])
        assert not inside.unknown
    assert sides(trace(model)) == ("1", ["0"])


def test_refused_images_do_not_spoil_the_trace_of_good_ones():
    model = wrap(nn.Sequential(conv(3, 4), nn.ReLU(), Head()), size=SIZE)
    with pytest.raises(ConvlensError, match="images of shape"):
        predict(model, torch.rand(0, 3, SIZE, SIZE))
    assert anatomy(model).layers[0].output == (1, 4, SIZE, SIZE)


def test_images_of_a_wrong_shape_are_told_by_their_shape():
    model = wrap(nn.Sequential(conv(3, 4), nn.ReLU(), Head()), size=SIZE)
    for shape in ((2, 1, SIZE, SIZE), (3, SIZE, SIZE)):
        with pytest.raises(ConvlensError, match="images of shape"):
            gradcam(model, torch.rand(shape))


def test_trace_follows_a_layer_that_was_exchanged():
    network = nn.Sequential(conv(3, 4), nn.ReLU(), Head())
    model = wrap(network, size=SIZE)
    assert trace(model) is trace(model)
    network[0] = conv(3, 4, 5)
    assert trace(model).field(trace(model).find_node("0")).size == (5, 5)


def test_trace_of_checkpointed_blocks():
    network = Net(
        lambda net, x: checkpoint(net.second, x, use_reentrant=False).relu(), second=conv(4, 4)
    )
    assert sides(traced(network)) == ("/relu", ["second"])


# the final convolutional layer, as a person would name it


def network_of(name):
    if name == "tf_efficientnet_lite0":
        return timm.create_model(name, pretrained=False)
    if name == "fcn_resnet50":
        build = torchvision.models.segmentation.fcn_resnet50
        return build(weights=None, weights_backbone=None)
    more = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(weights=None, **more)


FINAL = {
    "alexnet": ("features.11", ["features.10"]),
    "vgg16": ("features.29", ["features.28"]),
    "googlenet": (
        "inception5b",
        [f"inception5b.branch{branch}.bn" for branch in ("1", "2.1", "3.1", "4.1")],
    ),
    "resnet50": ("layer4.2", ["layer4.2/add"]),
    "mobilenet_v2": ("features.18.2", ["features.18.1"]),
    "densenet121": ("/relu", ["features.norm5"]),
    "squeezenet1_0": ("classifier.2", ["classifier.1"]),
    "convnext_tiny": ("features.7.2", ["features.7.2"]),
    "fcn_resnet50": ("classifier.2", ["classifier.1"]),
    "tf_efficientnet_lite0": ("bn2.act", ["bn2/batch_norm"]),
}


@pytest.fixture(scope="module", params=FINAL)
def well_known(request):
    torch.manual_seed(0)
    network = network_of(request.param).eval()
    return request.param, network, traced(network, 96)


def test_final_place_is_what_a_person_would_say(well_known):
    name, _, found = well_known
    post, pre = FINAL[name]
    assert (found.find_node(post), [found.find_node(one) for one in pre]) == (
        found.final_layer.post,
        list(found.final_layer.pre),
    )
    assert found.final_layer.reason


MODULES = {"densenet121": "features", "resnet50": "layer4.2"}


def test_final_place_lies_on_every_path(well_known):
    """With its map set to zero, the output does not depend on the image any more."""
    name, network, _ = well_known
    path = MODULES.get(name, FINAL[name][0])
    two = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(5))
    silent = network.get_submodule(path).register_forward_hook(
        lambda module, inputs, output: torch.zeros_like(output)
    )
    with torch.no_grad():
        said = network(two)
        silent.remove()
        free = network(two)
    said, free = (one["out"] if name == "fcn_resnet50" else one for one in (said, free))
    torch.testing.assert_close(said[0], said[1], rtol=0, atol=1e-6 * float(free.abs().max()))
    assert (free[0] - free[1]).abs().max() > 1e-6 * free.abs().max()


def test_final_place_of_a_small_image_is_a_real_map():
    # At 64 pixels AlexNet's last pooling leaves one cell, which adaptive pooling copies 36 times.
    found = traced(torchvision.models.alexnet(weights=None), 64)
    assert sides(found) == ("features.11", ["features.10"])


def test_two_heads_on_halves_meet_before_the_split():
    def halves(net, x):
        one, other = x.relu().chunk(2, 1)
        return torch.cat([one.mean((2, 3)), net.other(other).mean((2, 3))], 1)[..., None, None]

    found = traced(Net(halves, 4, other=conv(2, 2)))
    assert sides(found) == ("/relu", ["first"])


@pytest.fixture(scope="module")
def swin():
    network = torchvision.models.SwinTransformer(
        [4, 4], 12, [2, 2, 2, 2], [3, 6, 6, 6], [7, 7], num_classes=5
    )
    # Large enough that windows do not see the whole image before the last stage.
    return traced(network, 224)


def test_swin_ends_in_its_last_stage(swin):
    assert swin.name(swin.final_layer.post) in ("norm", "permute", "features.7.1")
    assert math.prod(swin.shape(swin.final_layer.post)) == 96 * 7 * 7


def test_attention_window_is_no_map_of_the_image(swin):
    # Its first dimension holds windows, not images.
    for value, shape in enumerate(swin.recording.shapes):
        if len(shape) == 4 and shape[0] > 1:
            assert swin.spatial_dims(value) is None, swin.name(value)


def test_network_without_maps_has_no_final_place():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 5))
    assert traced(network).final_layer is None
