"""Captured activations against plain hooks."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError
from convlens.capture.nodes import capture_nodes
from support.cut_networks import SIZE, Cut, Net, images, prepared


def observed(network, *names, size=SIZE):
    model, model_trace = prepared(network, size)
    values = [model_trace.find_node(name) for name in names]
    captured = capture_nodes(model, model_trace, images(size=size), values)
    return [captured[value] for value in values]


class Raising(nn.Module):
    def __init__(self):
        super().__init__()
        self.armed = False

    def forward(self, x):
        if self.armed:
            raise RuntimeError("this module should not be reached")
        return x


@pytest.mark.parametrize("name", ["first", "relu", "/mul", "first:in", "image"])
def test_pass_ends_where_everything_was_seen(name):
    network = Net(lambda net, x: net.late(net.relu(x) * 2), relu=nn.ReLU(), late=Raising())
    model, model_trace = prepared(network)
    network.late.armed = True
    value = model_trace.find_node(name)
    assert capture_nodes(model, model_trace, images(), [value])[value].shape[0] == 3
    with pytest.raises(ConvlensError, match="should not be reached"):
        capture_nodes(model, model_trace, images(), [value, model_trace.logits])


def test_values_equal_those_of_a_plain_hook():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    outputs = {}
    names = [name for name, module in network.named_modules() if name and "relu" not in name]
    # An in-place ReLU comes after bn1, so a plain hook has to copy.
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: outputs.__setitem__(name, output.clone())
        )
        for name in names
    ]
    with torch.no_grad():
        network(images(size=64))
    for handle in handles:
        handle.remove()
    for name, value in zip(names, observed(network, *names, size=64), strict=True):
        assert torch.equal(value, outputs[name]), name


@pytest.mark.parametrize("relu", [lambda net, x: net.relu(x), lambda net, x: F.relu_(x)])
def test_in_place_relu_afterwards_does_not_change_what_was_captured(relu):
    network = Net(relu, relu=nn.ReLU(inplace=True))
    model, model_trace = prepared(network)
    value, post = model_trace.find_node("first"), model_trace.find_node("head:in")
    with torch.no_grad():
        expected = network.first(images())
    for asked in (
        [value],
        [value, post],
        [value, model_trace.logits],
        [post, value, model_trace.logits],
    ):
        captured = capture_nodes(model, model_trace, images(), asked)
        assert torch.equal(captured[value], expected)
        if post in captured:
            assert torch.equal(captured[post], expected.relu())
    assert expected.min() < 0


def test_value_of_an_operation_inside_a_block():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    (pre,) = observed(network, "layer4.1/add", size=64)
    parts = []
    block = network.layer4[1]
    handles = [
        block.register_forward_hook(lambda module, inputs, output: parts.append(inputs[0].clone())),
        block.bn2.register_forward_hook(
            lambda module, inputs, output: parts.append(output.clone())
        ),
    ]
    with torch.no_grad():
        network(images(size=64))
    for handle in handles:
        handle.remove()
    assert torch.equal(pre, parts[0] + parts[1])
    assert pre.min() < 0


def test_value_of_the_second_of_three_runs():
    network = Net(lambda net, x: net.act(net.act(net.act(x) - 1) * 2), act=nn.Tanh())
    first, second, third, last = observed(network, "act#1", "act#2", "act#3", "act")
    with torch.no_grad():
        x = network.first(images())
    assert torch.equal(first, x.tanh())
    assert torch.equal(second, (x.tanh() - 1).tanh())
    assert torch.equal(third, (second * 2).tanh()) and torch.equal(last, third)
    (alone,) = observed(network, "act#2")
    assert torch.equal(alone, second)


def test_parts_and_inputs_of_modules():
    network = Net(lambda net, x: torch.cat([part + 1 for part in net.cut(x)], 1), cut=Cut())
    first, cut, other, head_input = observed(network, "first", "cut", "cut.1", "head:in")
    assert torch.equal(torch.cat([cut, other], 1), first)
    assert torch.equal(head_input, first + 1)


def test_branch_that_is_not_taken_is_an_error():
    network = Net(lambda net, x: net.left(x) if x.mean() > 0 else net.right(x),
                  left=nn.ReLU(), right=nn.Tanh())  # fmt: skip
    nn.init.zeros_(network.first.weight)
    nn.init.ones_(network.first.bias)
    model, model_trace = prepared(network)
    nn.init.constant_(network.first.bias, -1)
    with pytest.raises(ConvlensError, match=r"did not compute left.*this input"):
        capture_nodes(model, model_trace, images(), [model_trace.find_node("left")])


def test_users_images_are_left_alone():
    network = Net(lambda net, x: x.relu())
    model, model_trace = prepared(network)
    batch = images()
    before, version = batch.clone(), batch._version
    capture_nodes(model, model_trace, batch, [model_trace.logits], gradient_nodes=[0])
    assert not batch.requires_grad and batch.grad_fn is None and batch._version == version
    assert torch.equal(batch, before)
