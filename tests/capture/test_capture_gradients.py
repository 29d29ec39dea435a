"""Gradients at captured nodes against networks that are cut in two by hand."""

import pytest
import torch
from torch import nn

from convlens.capture.nodes import capture_nodes
from support.cut_networks import Cut, Head, Net, close, images, prepared, slopes, weights
from support.traced_networks import conv


def by_hand(value, upper):
    """Gradient of the weighted logits `upper(value)`, where the network was cut."""
    leaf = value.detach().clone().requires_grad_()
    logits = upper(leaf)
    return torch.autograd.grad(logits, leaf, weights(logits))[0]


def test_gradient_equals_the_network_cut_by_hand():
    network = Net(lambda net, x: net.second(net.relu(x)), relu=nn.ReLU(), second=conv(4, 4))
    (pre, post), (pre_value, post_value) = slopes(network, "first", "relu")
    close(pre[0], by_hand(pre_value, lambda x: network.head(network.second(x.relu()))))
    close(post[0], by_hand(post_value, lambda x: network.head(network.second(x))))


def in_place_method(net, x):
    return net.second(x.relu_())


def in_place_module(net, x):
    return net.second(net.relu(x))


def in_place_discarded(net, x):
    net.relu(x)
    return net.second(x)


def in_place_sum(net, x):
    x += x.detach() * 0 + 1
    return net.second(x.relu())


def in_place_view(net, x):
    x[:, :2].relu_()
    return net.second(x)


@pytest.mark.parametrize(
    ("function", "after"),
    [
        (in_place_method, torch.relu),
        (in_place_module, torch.relu),
        (in_place_discarded, torch.relu),
        (in_place_sum, lambda x: (x + 1).relu()),
        (in_place_view, lambda x: torch.cat([x[:, :2].relu(), x[:, 2:]], 1)),
    ],
)
def test_gradient_at_a_tensor_that_is_changed_in_place_later(function, after):
    network = Net(function, relu=nn.ReLU(inplace=True), second=conv(4, 4))
    (slope,), (value,) = slopes(network, "first")
    assert torch.equal(value.detach(), network.first(images()))
    close(slope[0], by_hand(value, lambda x: network.head(network.second(after(x)))))


def test_gradient_at_the_result_of_an_in_place_operation():
    def function(net, x):
        y = net.second(x)
        y += x
        net.relu(y)
        return y

    network = Net(function, relu=nn.ReLU(inplace=True), second=conv(4, 4))
    (pre, post), (pre_value, post_value) = slopes(network, "/add", "relu")
    close(pre[0], by_hand(pre_value, lambda x: network.head(x.relu())))
    close(post[0], by_hand(post_value, network.head))
    (alone,), _ = slopes(network, "/add")
    close(alone, pre)


def test_node_read_twice_gets_the_gradient_of_both_paths():
    network = Net(lambda net, x: net.second(x) + x * 2, second=conv(4, 4))
    (slope,), (value,) = slopes(network, "first")
    close(slope[0], by_hand(value, lambda x: network.head(network.second(x) + x * 2)))


class Encoder(nn.Module):
    """Keeps what it gives for a decoder to read, as many segmentation networks do."""

    def __init__(self):
        super().__init__()
        self.conv = conv(4, 4)

    def forward(self, x):
        self.skip = self.conv(x).relu()
        return self.skip


def test_gradient_through_a_tensor_that_a_module_keeps():
    network = Net(lambda net, x: net.second(net.encoder(x)) + net.encoder.skip,
                  encoder=Encoder(), second=conv(4, 4))  # fmt: skip
    (slope,), (value,) = slopes(network, "encoder")
    close(slope[0], by_hand(value, lambda x: network.head(network.second(x) + x)))


def test_gradient_through_a_tensor_that_the_networks_own_hook_keeps():
    class Hooked(Net):
        def __init__(self):
            super().__init__(lambda net, x: net.second(x) + net.outputs[-1], second=conv(4, 4))
            self.outputs = []
            self.first.register_forward_hook(self.keep)

        def keep(self, module, inputs, output):
            self.outputs[:] = [output]

    network = Hooked()
    (slope,), (value,) = slopes(network, "first")
    close(slope[0], by_hand(value, lambda x: network.head(network.second(x) + x)))


class Listening(nn.Module):
    """Reads the output that a plain hook on one of its modules has stored."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = conv(3, 4), conv(4, 4), Head()
        self.outputs = {}
        self.first.register_forward_hook(
            lambda module, inputs, output: self.outputs.__setitem__("first", output)
        )

    def forward(self, x):
        x = self.second(self.first(x)).relu()
        return self.head(x + self.outputs["first"])


@pytest.mark.parametrize("ran_before", [False, True])
def test_network_that_works_by_a_plain_hook_of_its_own(ran_before):
    network = Listening().eval()
    if ran_before:
        with torch.no_grad():
            network(images(1))
    _, model_trace = prepared(network)
    assert model_trace.find_node("first") in model_trace.structure.nodes_on_every_path(
        model_trace.logits
    )
    relu = model_trace.structure.nodes_on_every_path(model_trace.logits)
    assert model_trace.find_node("/relu") not in relu  # the sum's other half goes around it
    assert all(type(tensor) is torch.Tensor for tensor in network.outputs.values())
    (slope,), (value,) = slopes(network, "first")
    close(slope[0], by_hand(value, lambda x: network.head(network.second(x).relu() + x)))


class Nested(nn.Module):
    """Gives more than a tensor."""

    def __init__(self, pack):
        super().__init__()
        self.conv = conv(4, 4)
        self.pack = pack

    def forward(self, x):
        return self.pack(self.conv(x).relu())


@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (lambda x: (None, x), lambda packed: packed[1]),
        (lambda x: (x, None), lambda packed: packed[0]),
        (lambda x: {"aux": None, "x": x}, lambda packed: packed["x"]),
        (lambda x: [x], lambda packed: packed[0]),
        (lambda x: ((x,), 3), lambda packed: packed[0][0]),
        (lambda x: {"x": [x]}, lambda packed: packed["x"][0]),
    ],
)
def test_gradient_at_a_module_that_gives_more_than_a_tensor(pack, unpack):
    network = Net(lambda net, x: unpack(net.nested(x)), nested=Nested(pack))
    (slope,), (value,) = slopes(network, "nested")
    close(slope[0], by_hand(value, network.head))


def test_gradient_at_one_of_several_tensors_of_a_module():
    network = Net(lambda net, x: torch.cat([y * (k + 2) for k, y in enumerate(net.cut(x))], 1),
                  cut=Cut())  # fmt: skip
    (first, second), (x, y) = slopes(network, "cut", "cut.1")
    close(first[0], by_hand(x, lambda x: network.head(torch.cat([x * 2, y.detach() * 3], 1))))
    close(second[0], by_hand(y, lambda y: network.head(torch.cat([x.detach() * 2, y * 3], 1))))


def test_gradient_at_both_halves_of_a_split():
    def function(net, x):
        first, second = x.chunk(2, 1)
        return torch.cat([first.tanh(), second * 2], 1)

    network = Net(function)
    (left, other), (x, y) = slopes(network, "/chunk", "/chunk.1")
    upper = lambda x, y: network.head(torch.cat([x.tanh(), y * 2], 1))  # noqa: E731
    close(left[0], by_hand(x, lambda x: upper(x, y.detach())))
    close(other[0], by_hand(y, lambda y: upper(x.detach(), y)))


def test_several_starts_one_downstream_of_another():
    network = Net(lambda net, x: net.third(net.second(x).relu()) + x, second=conv(4, 4),
                  third=conv(4, 4))  # fmt: skip
    (first, second, third), (a, b, c) = slopes(network, "first", "second", "third")
    upper = lambda x: network.head(network.third(network.second(x).relu()) + x)  # noqa: E731
    close(first[0], by_hand(a, upper))
    close(second[0], by_hand(b, lambda b: network.head(network.third(b.relu()) + a.detach())))
    close(third[0], by_hand(c, lambda c: network.head(c + a.detach())))


def test_start_at_an_earlier_run_of_a_module_that_runs_often():
    network = Net(lambda net, x: net.act(net.act(net.act(x) - 1) * 2), act=nn.Tanh())
    (slope,), (value,) = slopes(network, "act#2")
    close(slope[0], by_hand(value, lambda x: network.head((x * 2).tanh())))


def test_start_at_the_image():
    network = Net(lambda net, x: x.relu())
    (slope,), (value,) = slopes(network, "image")
    assert torch.equal(value.detach(), images())
    close(slope[0], by_hand(images(), network))


def test_no_graph_below_the_start_and_parameters_take_no_part():
    network = Net(lambda net, x: net.second(x.relu()), second=conv(4, 4))
    model, model_trace = prepared(network)
    below, start, above = (model_trace.find_node(name) for name in ("image", "first", "second"))
    captured = capture_nodes(
        model, model_trace, images(), [below, above, model_trace.logits], gradient_nodes=[start]
    )
    assert captured[below].grad_fn is None and not captured[below].requires_grad
    assert captured[start].is_leaf and captured[start].requires_grad
    assert captured[above].grad_fn is not None
    leaves, todo = set(), [captured[model_trace.logits].grad_fn]
    while todo:
        node = todo.pop()
        if hasattr(node, "variable"):
            leaves.add(node.variable)
        todo += [parent for parent, _ in node.next_functions if parent is not None]
    assert leaves == {captured[start]}
    plain = capture_nodes(model, model_trace, images(), [above])
    assert not plain[above].requires_grad


def test_graph_from_images_that_require_gradients():
    network = Net(lambda net, x: x.relu())
    model, model_trace = prepared(network)
    batch = images().requires_grad_()
    logits = capture_nodes(model, model_trace, batch, [model_trace.logits])[model_trace.logits]
    close(torch.autograd.grad(logits, batch, weights(logits))[0], by_hand(images(), network))
