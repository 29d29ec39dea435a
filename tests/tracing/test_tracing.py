"""Names of nodes in a trace."""

import pytest
import torchvision
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError
from support.traced_networks import SIZE, Head, Net, conv, sides, traced


def test_module_that_runs_three_times_has_three_names():
    network = Net(lambda net, x: net.relu(net.relu(net.relu(x) - 1) * 2), relu=nn.ReLU())
    model_trace = traced(network)
    nodes = [model_trace.find_node(f"relu#{run}") for run in (1, 2, 3)]
    assert len(set(nodes)) == 3 and nodes == sorted(nodes)
    assert model_trace.find_node("relu") == nodes[2]
    assert model_trace.find_node("relu#1:in") == model_trace.find_node("first")
    assert model_trace.find_node("relu#2:in") == model_trace.find_node("/sub")
    assert (
        model_trace.find_node("relu:in")
        == model_trace.find_node("relu#3:in")
        == model_trace.find_node("/mul")
    )
    with pytest.raises(ConvlensError, match="relu#4"):
        model_trace.find_node("relu#4")


def test_operations_of_one_name_are_numbered():
    model_trace = traced(Net(lambda net, x: x + (x.relu() + 1) + F.relu(-x)))
    relus, sums = (
        [model_trace.find_node(f"/{name}{mark}") for mark in marks]
        for name, marks in (("relu", ("", "#2")), ("add", ("", "#2", "#3")))
    )
    assert len(set(relus)) == 2 and len(set(sums)) == 3
    assert sums[2] == model_trace.find_node("head:in")
    # The whole is one function of the input of each element, so the steps are no non-linearities.
    assert model_trace.structure.is_post(sums[2])
    assert not any(model_trace.structure.is_post(node) for node in relus)


def test_functional_relu_is_a_node_with_pre_and_post():
    model_trace = traced(Net(lambda net, x: F.relu(x)))
    assert sides(model_trace) == ("/relu", ["first"])
    assert model_trace.structure.is_pre(model_trace.find_node("first"))
    assert model_trace.structure.is_post(model_trace.find_node("/relu"))


def test_image_is_a_node():
    model_trace = traced(Net(lambda net, x: x))
    assert model_trace.find_node("image") == 0 and model_trace.name(0) == "image"
    assert model_trace.shape(0) == (1, 3, SIZE, SIZE) and model_trace.image_size == (SIZE, SIZE)


def test_parts_of_a_tuple_are_told_apart():
    def gated(net, x):
        gate, features = x.split([1, 3], 1)
        return gate.relu() * features

    model_trace = traced(Net(gated, 3))
    assert model_trace.shape(model_trace.find_node("/split")) == (1, 1, SIZE, SIZE)
    assert model_trace.shape(model_trace.find_node("/split.1")) == (1, 3, SIZE, SIZE)


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

    model_trace = traced(Whole())
    # `parts.2` is a layer; it is also how the third tensor of `parts` would be written.
    for number in range(3):
        assert model_trace.find_node(f"parts.{number}") == model_trace.find_node(
            f"parts.{number}/add"
        )


def test_error_for_an_unknown_name_gives_the_nearest():
    model_trace = traced(torchvision.models.alexnet(weights=None), 64)
    with pytest.raises(ConvlensError, match=r"no layer 'feature\.10'.*nearest: .*features\.10"):
        model_trace.find_node("feature.10")
    with pytest.raises(ConvlensError, match="64 x 64"):
        model_trace.find_node("nothing at all")


def test_every_name_can_be_found():
    model_trace = traced(torchvision.models.resnet18(weights=None), 64)
    for name in model_trace.names():
        assert 0 <= model_trace.find_node(name) < len(model_trace.recording.shapes)
    named = dict(torchvision.models.resnet18(weights=None).named_modules())
    assert set(named) - {""} == {name for name in model_trace.names() if name in named}
