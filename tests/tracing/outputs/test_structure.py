"""The structure in a trace: logits behind a softmax, in-place operations, the final layer."""

import math

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from convlens import predict, wrap
from support.traced_networks import SIZE, Net, conv, images, sides, traced

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

    model_trace = traced(Net(lambda net, x: net.block(x), block=Block()))
    assert sides(model_trace)[1] == ["block/add"]
    assert (
        model_trace.final_layer.post
        == model_trace.find_node("block")
        == model_trace.find_node("block.relu")
    )
    assert model_trace.find_node("block/add") not in (
        model_trace.find_node("block.conv"),
        model_trace.find_node("block"),
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
    model_trace = traced(Net(function, **parts))
    (pre,) = model_trace.final_layer.pre
    assert model_trace.name(pre) == "first"
    assert model_trace.structure.is_post(model_trace.final_layer.post)
    assert model_trace.find_node("head:in") == model_trace.final_layer.post != pre


@pytest.mark.parametrize("function", [through_view, through_data])
def test_write_through_an_alias_reaches_what_reads_the_memory(function):
    model_trace = traced(Net(function, second=conv(4, 4)))
    before, after = model_trace.find_node("first"), model_trace.find_node("second:in")
    assert before != after
    operations = {operation.name for operation in model_trace.recording.operations}
    assert "relu" in operations
    passed_nodes = model_trace.structure.nodes_on_every_path(model_trace.logits)
    assert after in passed_nodes and before in passed_nodes
    field = model_trace.field(model_trace.find_node("second"))
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
    model_trace = traced(network)
    assert model_trace.logits == model_trace.find_node("linear") != model_trace.recording.output
    expected_logits = network.linear(network.first(images()).relu().mean((2, 3)))
    torch.testing.assert_close(predict(wrap(network, size=SIZE), images()).logits, expected_logits)


@pytest.mark.parametrize(
    "end",
    [
        lambda x: F.softmax(x, dim=1).flatten(1),
        lambda x: F.log_softmax(x, dim=1).squeeze(-1).squeeze(-1),
    ],
)
def test_softmax_before_flattening_still_gives_one_vector_of_logits(end):
    network = Ending(end, spatial=True)
    logits = network.first(images()).relu().mean((2, 3))
    predictions = predict(wrap(network, size=SIZE), images())
    torch.testing.assert_close(predictions.probabilities, logits.softmax(1))


def test_softmax_in_the_middle_or_of_attention_is_no_end():
    network = Net(lambda net, x: x * x.softmax(1))
    model_trace = traced(network)
    assert (
        model_trace.logits == model_trace.recording.output == model_trace.find_node("head.linear")
    )


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


def test_final_layer_is_what_a_person_would_say(well_known):
    network_name, _, model_trace = well_known
    post, pre = FINAL[network_name]
    assert (model_trace.find_node(post), [model_trace.find_node(name) for name in pre]) == (
        model_trace.final_layer.post,
        list(model_trace.final_layer.pre),
    )
    assert model_trace.final_layer.reason


MODULES = {"densenet121": "features", "resnet50": "layer4.2"}


def test_final_layer_lies_on_every_path(well_known):
    """With its map set to zero, the output does not depend on the image any more."""
    name, network, _ = well_known
    path = MODULES.get(name, FINAL[name][0])
    two = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(5))
    handle = network.get_submodule(path).register_forward_hook(
        lambda module, inputs, output: torch.zeros_like(output)
    )
    with torch.no_grad():
        silenced = network(two)
        handle.remove()
        free = network(two)
    if name == "fcn_resnet50":
        silenced, free = silenced["out"], free["out"]
    torch.testing.assert_close(
        silenced[0], silenced[1], rtol=0, atol=1e-6 * float(free.abs().max())
    )
    assert (free[0] - free[1]).abs().max() > 1e-6 * free.abs().max()


def test_final_layer_of_a_small_image_is_a_real_map():
    # At 64 pixels AlexNet's last pooling leaves one cell, which adaptive pooling copies 36 times.
    model_trace = traced(torchvision.models.alexnet(weights=None), 64)
    assert sides(model_trace) == ("features.11", ["features.10"])


def test_two_heads_on_halves_meet_before_the_split():
    def halves(net, x):
        first, second = x.relu().chunk(2, 1)
        return torch.cat([first.mean((2, 3)), net.other(second).mean((2, 3))], 1)[..., None, None]

    model_trace = traced(Net(halves, 4, other=conv(2, 2)))
    assert sides(model_trace) == ("/relu", ["first"])


@pytest.fixture(scope="module")
def swin():
    network = torchvision.models.SwinTransformer(
        [4, 4], 12, [2, 2, 2, 2], [3, 6, 6, 6], [7, 7], num_classes=5
    )
    # Large enough that windows do not see the whole image before the last stage.
    return traced(network, 224)


@pytest.mark.slow
def test_swin_ends_in_its_last_stage(swin):
    assert swin.name(swin.final_layer.post) in ("norm", "permute", "features.7.1")
    assert math.prod(swin.shape(swin.final_layer.post)) == 96 * 7 * 7


@pytest.mark.slow
def test_attention_window_is_no_map_of_the_image(swin):
    # Its first dimension holds windows, not images.
    shapes = enumerate(swin.recording.shapes)
    windows = [node for node, shape in shapes if len(shape) == 4 and shape[0] > 1]
    assert windows
    for node in windows:
        assert swin.spatial_dims(node) is None, swin.name(node)


def test_network_without_maps_has_no_final_layer():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 5))
    assert traced(network).final_layer is None
