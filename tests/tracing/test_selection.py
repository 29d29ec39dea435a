"""How text names a layer, a side, a channel or a unit, for each kind of layer."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, gradcam, trace, wrap
from convlens.tracing.channel_names import (
    ChannelName,
    match_channel,
    parse_channel,
    parse_channel_beside_layer,
)
from convlens.tracing.selection import (
    Side,
    find_channel_sources,
    find_channels,
    select_final_layer,
    select_layer,
)

SIZE = 32


def traced(network, size=SIZE):
    return trace(wrap(network.eval(), size=size))


def sides(model_trace, layer):
    """Names of the nodes on each side."""
    return {
        side: [model_trace.name(node) for node in select_layer(model_trace, layer, side).nodes]
        for side in ("output", "pre", "post")
    }


def three(output, pre, post):
    return {"output": [output], "pre": [pre], "post": [post]}


def ending(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)]


class TestConvBnRelu:
    @pytest.fixture(scope="class")
    @classmethod
    def model_trace(cls):
        torch.manual_seed(0)
        return traced(
            nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                nn.Conv2d(4, 5, 3), nn.MaxPool2d(2), nn.ReLU(), *ending(5),
            )
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("layer", "expected"),
        [
            ("0", three("0", "1", "2")),
            ("1", three("1", "1", "2")),
            ("2", three("2", "1", "2")),
            ("3", three("3", "3", "3")),  # pooled activations: no non-linearity of its own
            ("4", three("4", "4", "4")),  # pooling comes between it and the ReLU
            ("5", three("5", "5", "6")),
            ("6", three("6", "5", "6")),
        ],
    )
    def test_sides(self, model_trace, layer, expected):
        assert sides(model_trace, layer) == expected

    def test_a_group_names_its_layer_side_and_reason(self, model_trace):
        group = select_layer(model_trace, "0", "pre")
        assert (group.name, group.side, group.reason) == ("0", "pre", "asked for")
        assert group.post == model_trace.find_node("2")

    def test_a_node_is_itself_on_every_side(self, model_trace):
        assert sides(model_trace, "2:in") == three("1", "1", "1")
        assert sides(model_trace, "image") == three("image", "image", "image")
        assert [select_layer(model_trace, name, "output").side for name in ("2:in", "image")] == [
            "pre",
            "output",
        ]

    def test_all_convolutions(self, model_trace):
        expected: list[tuple[Side, list[str]]] = [
            ("output", ["0", "4"]), ("pre", ["1", "4"]), ("post", ["2", "4"]),
        ]  # fmt: skip
        for side, names in expected:
            sources = find_channel_sources(model_trace, None, side)
            assert [source.layer for source in sources] == ["0", "4"]
            assert [source.node_name for source in sources] == names
            assert {source.side for source in sources} == {side}
        assert [source.rectified for source in sources] == [True, False]

    def test_layers_with_one_node_have_one_source(self, model_trace):
        (source,) = find_channel_sources(model_trace, ["0", "1", "2"], "post")
        assert (source.layer, source.also, source.channels) == ("0", ("1", "2"), 4)
        assert len(find_channel_sources(model_trace, ["0", "1", "2"], "output")) == 3


class TestResNet:
    @pytest.fixture(scope="class")
    @classmethod
    def model_trace(cls):
        torch.manual_seed(0)
        return traced(torchvision.models.resnet18(), size=64)

    @pytest.mark.parametrize(
        ("layer", "expected"),
        [
            ("layer4", three("layer4.1.relu#2", "layer4.1/add", "layer4.1.relu#2")),
            ("layer4.1", three("layer4.1.relu#2", "layer4.1/add", "layer4.1.relu#2")),
            ("layer4.1.conv1", three("layer4.1.conv1", "layer4.1.bn1", "layer4.1.relu#1")),
            ("layer4.1.conv2", three("layer4.1.conv2", "layer4.1/add", "layer4.1.relu#2")),
            ("layer4.1.bn2", three("layer4.1.bn2", "layer4.1/add", "layer4.1.relu#2")),
            ("layer4.1.relu", three("layer4.1.relu#2", "layer4.1/add", "layer4.1.relu#2")),
            ("layer4.1.relu#1", three("layer4.1.relu#1", "layer4.1.bn1", "layer4.1.relu#1")),
            ("layer4.0.downsample.0",
             three("layer4.0.downsample.0", "layer4.0/add", "layer4.0.relu#2")),
            ("layer4.1/add", three("layer4.1/add", "layer4.1/add", "layer4.1/add")),
            ("layer4.1:in", three("layer4.0.relu#2", "layer4.0.relu#2", "layer4.0.relu#2")),
            ("maxpool", three("maxpool", "maxpool", "maxpool")),
        ],
    )  # fmt: skip
    def test_sides(self, model_trace, layer, expected):
        nodes = {
            side: [model_trace.find_node(name) for name in names]
            for side, names in expected.items()
        }
        assert {side: list(select_layer(model_trace, layer, side).nodes) for side in nodes} == nodes

    def test_final_layer(self, model_trace):
        pre, post = (select_final_layer(model_trace, side) for side in ("pre", "post"))
        assert pre.nodes == select_layer(model_trace, "layer4", "pre").nodes
        assert post.nodes == select_layer(model_trace, "layer4", "post").nodes
        with pytest.raises(ConvlensError, match="output is of a layer; name one"):
            select_final_layer(model_trace, "output")


class PreActivation(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv(F.relu(self.bn(x)))


def test_pre_activation_block():
    torch.manual_seed(0)
    model_trace = traced(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), PreActivation(4), PreActivation(4), nn.BatchNorm2d(4), nn.ReLU(),
            *ending(4),
        )
    )  # fmt: skip
    assert sides(model_trace, "0") == three("0", "1.bn", "1/relu")
    assert sides(model_trace, "1") == three("1", "2.bn", "2/relu")
    assert sides(model_trace, "1.conv") == three("1.conv", "2.bn", "2/relu")
    assert sides(model_trace, "2") == three("2", "3", "4")
    assert sides(model_trace, "2/add") == three("2", "2", "2")


def test_linear_bottleneck():
    """A layer without a non-linearity: its channels are read after the normalization."""
    torch.manual_seed(0)
    model_trace = traced(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),
            nn.Conv2d(4, 4, 3),
            nn.ReLU6(),
            *ending(4),
        )
    )
    assert sides(model_trace, "0.0") == three("0.0", "0.1", "0.1")
    assert sides(model_trace, "0.1") == sides(model_trace, "0") == three("0.1", "0.1", "0.1")
    (source,) = find_channel_sources(model_trace, ["0.0"])
    assert (source.side, source.post, source.rectified) == ("post", False, False)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return torch.cat([F.relu(self.left(x)), F.relu(self.right(x))], dim=1)


def test_concatenation_is_a_node_group():
    torch.manual_seed(0)
    model = wrap(nn.Sequential(Inception(), nn.Conv2d(6, 2, 1), *ending(2)).eval(), size=SIZE)
    model_trace = trace(model)
    assert sides(model_trace, "0") == {"output": ["0"], "pre": ["0.left", "0.right"], "post": ["0"]}
    image = torch.rand(1, 3, SIZE, SIZE)
    assert gradcam(model, image, layer="0").nodes == ("0.left", "0.right")
    assert gradcam(model, image, layer="0", side="post").nodes == ("0",)
    assert find_channel_sources(model_trace, ["0"])[0].channels == 6
    with pytest.raises(ConvlensError, match=r"pre side of 0 is 2 nodes.*\(0.left, 0.right\)"):
        find_channel_sources(model_trace, ["0"], "pre")


class Functional(nn.Module):
    """A convolution and a non-linearity in a module's own code, and a gate written out."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 3, 3, 3))
        self.gated = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.gated(F.relu(F.conv2d(x, self.weight)))
        return x * torch.sigmoid(x)


def test_functional_layers():
    torch.manual_seed(0)
    model_trace = traced(nn.Sequential(Functional(), *ending(4)))
    assert sides(model_trace, "0") == three("0", "0.gated", "0")
    assert sides(model_trace, "0.gated") == three("0.gated", "0.gated", "0")
    assert [source.layer for source in find_channel_sources(model_trace, None)] == [
        "0/relu",
        "0.gated",
    ]


class Two(nn.Module):
    """A module with two outputs, and a child of the name that the second one would have."""

    def __init__(self):
        super().__init__()
        self.add_module("1", nn.Conv2d(3, 4, 3))

    def forward(self, x):
        x = self.get_submodule("1")(x)
        return x, F.relu(x)


class OfTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.two, self.end = Two(), nn.Sequential(*ending(4))

    def forward(self, x):
        return self.end(self.two(x)[1])


def test_a_child_module_goes_before_a_second_output():
    model_trace = traced(OfTwo())
    assert model_trace.find_node("two.1") == model_trace.find_node("two")
    assert sides(model_trace, "two.1") == three("two.1", "two.1", "two/relu")


class TestNamesOfChannels:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("layer4.2:17", ChannelName("layer4.2", 17)),
            ("layer4.2:17@3,5", ChannelName("layer4.2", 17, (3, 5))),
            ("layer4.2:in:17", ChannelName("layer4.2:in", 17)),
            ("layer4.2/add#2:0", ChannelName("layer4.2/add#2", 0)),
            ("layer4.2#1:0@0,0", ChannelName("layer4.2#1", 0, (0, 0))),
            ("layer4.2:in", None),
            ("layer4.2", None),
            ("layer4.2:", None),
            (":3", None),
            ("layer4.2:17@3", None),
            ("layer4.2:-1", None),
            ("tiger cat", None),
        ],
    )
    def test_channels_units_and_inputs_are_told_apart(self, text, expected):
        assert match_channel(text) == expected
        if expected is not None:
            assert str(parse_channel(text)) == text
        else:
            with pytest.raises(ConvlensError, match="is not LAYER:K"):
                parse_channel(text)

    @pytest.mark.parametrize(
        ("text", "layer", "expected"),
        [(None, None, (None, None)), (None, "a", ("a", None)), ("3", "a", ("a", 3)),
         ("3", None, (None, 3)), ("a:3", None, ("a", 3)), ("a:3", "a", ("a", 3))],
    )  # fmt: skip
    def test_channel_beside_a_layer(self, text, layer, expected):
        assert parse_channel_beside_layer(text, layer) == expected

    @pytest.mark.parametrize(
        ("text", "layer", "message"),
        [("b:3", "a", "is not one of --layer a"), ("x", "a", "is no number"),
         ("a:3@1,1", None, "is no number")],
    )  # fmt: skip
    def test_channel_that_is_none(self, text, layer, message):
        with pytest.raises(ConvlensError, match=message):
            parse_channel_beside_layer(text, layer)

    def test_channels_of_layers(self):
        model_trace = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)))
        assert find_channels(model_trace, ["0:1", "2:1", "0:3"]) == {"0": [1, 3], "2": [1]}
        assert find_channels(model_trace, ["1:in:3"]) == {"1:in": [3]}
        for text, message in (
            ("0:4", "0 has 4 channels, 0 to 3; given 4"),
            ("1o:1", "no layer '1o'"),
            ("0:1@2,2", "is a unit; give a channel, 0:1"),
            ("0", "is not LAYER:K"),
        ):
            with pytest.raises(ConvlensError, match=message):
                find_channels(model_trace, [text])

    def test_side_that_is_none(self):
        model_trace = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
        with pytest.raises(ConvlensError, match=r"no side 'ouput'.*output.*give pre, post or"):
            select_layer(model_trace, "0", "ouput")  # type: ignore[arg-type]

    def test_layer_without_maps(self):
        model_trace = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *ending(4)))
        with pytest.raises(ConvlensError, match=r"4 of .* gives \(1, 3\) for one image, not maps"):
            select_layer(model_trace, "4", "post")
