"""The probe, against plain hooks and networks that are cut in two by hand."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from convlens import ConvlensError, gradcam, trace, wrap
from convlens.capture import capture_nodes, compute_gradients

SIZE = 16


def conv(inputs, gave, kernel=3, **options):
    return nn.Conv2d(inputs, gave, kernel, padding=kernel // 2, **options)


class Head(nn.Module):
    def __init__(self, channels=4, classes=5):
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(x.square().mean((2, 3)))


class Net(nn.Module):
    """first, then a function of the module and what first gave, then a head."""

    def __init__(self, function, **parts):
        super().__init__()
        torch.manual_seed(0)
        self.first = conv(3, 4)
        for name, part in parts.items():
            self.add_module(name, part)
        self.head = Head()
        self.function = function

    def forward(self, x):
        return self.head(self.function(self, self.first(x)))


def images(count=3, size=SIZE):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def prepared(network, size=SIZE):
    model = wrap(network.eval(), size=size)
    return model, trace(model)


def observed(network, *names, size=SIZE):
    model, model_trace = prepared(network, size)
    values = [model_trace.find_node(name) for name in names]
    seen = capture_nodes(model, model_trace, images(size=size), values)
    return [seen[value] for value in values]


def slopes(network, *names, directions=None):
    """Gradients of weighted logits, `(K, N, ...)` for each name, and the values there."""
    model, model_trace = prepared(network)
    starts = [model_trace.find_node(name) for name in names]
    seen = capture_nodes(model, model_trace, images(), [model_trace.logits], gradient_nodes=starts)
    logits = seen[model_trace.logits]
    if directions is None:
        directions = weights(logits)[None]
    return compute_gradients(logits, [seen[value] for value in starts], directions), [
        seen[value] for value in starts
    ]


def weights(logits):
    return torch.arange(1.0, 1 + logits.numel()).view(logits.shape) / logits.numel()


def by_hand(value, rest):
    """Gradient of the weighted logits `rest(value)`, where the network was cut."""
    leaf = value.detach().clone().requires_grad_()
    logits = rest(leaf)
    return torch.autograd.grad(logits, leaf, weights(logits))[0]


def close(first, second):
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7)


# values


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
            lambda module, inputs, gave, name=name: outputs.__setitem__(name, gave.clone())
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
        seen = capture_nodes(model, model_trace, images(), asked)
        assert torch.equal(seen[value], expected)
        if post in seen:
            assert torch.equal(seen[post], expected.relu())
    assert expected.min() < 0


def test_value_of_an_operation_inside_a_block():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    (pre,) = observed(network, "layer4.1/add", size=64)
    parts = []
    block = network.layer4[1]
    handles = [
        block.register_forward_hook(lambda module, inputs, gave: parts.append(inputs[0].clone())),
        block.bn2.register_forward_hook(lambda module, inputs, gave: parts.append(gave.clone())),
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


class Cut(nn.Module):
    def forward(self, x):
        return x[:, :1], x[:, 1:]


def test_branch_that_is_not_taken_is_an_error():
    network = Net(lambda net, x: net.left(x) if x.mean() > 0 else net.right(x),
                  left=nn.ReLU(), right=nn.Tanh())  # fmt: skip
    nn.init.zeros_(network.first.weight)
    nn.init.ones_(network.first.bias)
    model, model_trace = prepared(network)
    nn.init.constant_(network.first.bias, -1)
    with pytest.raises(ConvlensError, match=r"did not come through left.*this input"):
        capture_nodes(model, model_trace, images(), [model_trace.find_node("left")])


def test_users_images_are_left_alone():
    network = Net(lambda net, x: x.relu())
    model, model_trace = prepared(network)
    batch = images()
    before, version = batch.clone(), batch._version
    capture_nodes(model, model_trace, batch, [model_trace.logits], gradient_nodes=[0])
    assert not batch.requires_grad and batch.grad_fn is None and batch._version == version
    assert torch.equal(batch, before)


# gradients


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


def test_gradient_at_what_an_in_place_operation_gave():
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


def test_place_read_twice_gets_the_gradient_of_both_paths():
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
            super().__init__(lambda net, x: net.second(x) + net.kept[-1], second=conv(4, 4))
            self.kept = []
            self.first.register_forward_hook(self.keep)

        def keep(self, module, inputs, gave):
            self.kept[:] = [gave]

    network = Hooked()
    (slope,), (value,) = slopes(network, "first")
    close(slope[0], by_hand(value, lambda x: network.head(network.second(x) + x)))


class Listening(nn.Module):
    """Reads what a plain function hooked on one of its modules has put aside."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = conv(3, 4), conv(4, 4), Head()
        self.kept = {}
        self.first.register_forward_hook(
            lambda module, inputs, gave: self.kept.__setitem__("first", gave)
        )

    def forward(self, x):
        x = self.second(self.first(x)).relu()
        return self.head(x + self.kept["first"])


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
    assert all(type(tensor) is torch.Tensor for tensor in network.kept.values())
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
    rest = lambda x, y: network.head(torch.cat([x.tanh(), y * 2], 1))  # noqa: E731
    close(left[0], by_hand(x, lambda x: rest(x, y.detach())))
    close(other[0], by_hand(y, lambda y: rest(x.detach(), y)))


def test_several_starts_one_downstream_of_another():
    network = Net(lambda net, x: net.third(net.second(x).relu()) + x, second=conv(4, 4),
                  third=conv(4, 4))  # fmt: skip
    (first, second, third), (a, b, c) = slopes(network, "first", "second", "third")
    rest = lambda x: network.head(network.third(network.second(x).relu()) + x)  # noqa: E731
    close(first[0], by_hand(a, rest))
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
    seen = capture_nodes(
        model, model_trace, images(), [below, above, model_trace.logits], gradient_nodes=[start]
    )
    assert seen[below].grad_fn is None and not seen[below].requires_grad
    assert seen[start].is_leaf and seen[start].requires_grad
    assert seen[above].grad_fn is not None
    leaves, todo = set(), [seen[model_trace.logits].grad_fn]
    while todo:
        node = todo.pop()
        if hasattr(node, "variable"):
            leaves.add(node.variable)
        todo += [parent for parent, _ in node.next_functions if parent is not None]
    assert leaves == {seen[start]}
    plain = capture_nodes(model, model_trace, images(), [above])
    assert not plain[above].requires_grad


def test_graph_from_images_that_require_gradients():
    network = Net(lambda net, x: x.relu())
    model, model_trace = prepared(network)
    batch = images().requires_grad_()
    logits = capture_nodes(model, model_trace, batch, [model_trace.logits])[model_trace.logits]
    close(torch.autograd.grad(logits, batch, weights(logits))[0], by_hand(images(), network))


# several directions at once


def every_class(logits):
    directions = torch.zeros(logits.shape[1], *logits.shape)
    for index in range(logits.shape[1]):
        directions[index, :, index] = 1
    return directions


@pytest.mark.parametrize("build", ["resnet18", "mobilenet_v2", "densenet121", "squeezenet1_0"])
def test_batched_directions_equal_the_loop(build):
    torch.manual_seed(0)
    network = getattr(torchvision.models, build)(weights=None, num_classes=5).eval()
    model, model_trace = prepared(network, 64)
    start = model_trace.final_layer.pre[0]
    seen = capture_nodes(
        model, model_trace, images(size=64), [model_trace.logits], gradient_nodes=[start]
    )
    logits = seen[model_trace.logits]
    directions = every_class(logits)
    (together,) = compute_gradients(logits, [seen[start]], directions)
    for index, direction in enumerate(directions):
        (alone,) = torch.autograd.grad(logits, seen[start], direction, retain_graph=True)
        torch.testing.assert_close(together[index], alone, rtol=1e-5, atol=1e-8)


class Doubled(torch.autograd.Function):
    """Twice its input; its backward pass looks at numbers, which cannot be batched."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, slope):
        return slope * 2 if slope.abs().sum().item() >= 0 else slope


def test_function_that_cannot_be_batched_falls_back():
    network = Net(lambda net, x: Doubled.apply(x.relu()))
    directions = every_class(torch.zeros(3, 5))
    (slope,), (value,) = slopes(network, "first", directions=directions)
    leaf = value.detach().clone().requires_grad_()
    logits = network.head(leaf.relu() * 2)
    for index, direction in enumerate(directions):
        close(slope[index], torch.autograd.grad(logits, leaf, direction, retain_graph=True)[0])


@pytest.mark.parametrize("directions", [torch.ones(1, 3, 5), every_class(torch.zeros(3, 5))])
def test_start_that_the_outputs_do_not_depend_on_has_no_gradient(directions):
    def function(net, x):
        net.side(x)
        return x.relu()

    (side, first), _ = slopes(
        Net(function, side=conv(4, 4)), "side", "first", directions=directions
    )
    assert side.shape == first.shape == (len(directions), 3, 4, SIZE, SIZE)
    assert not side.any() and first.any()


# networks that compute again in the backward pass


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = conv(4, 4), nn.BatchNorm2d(4), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.conv(x)).relu())


def test_checkpointed_network_in_training_mode():
    def saving(net, x):
        return checkpoint(net.block, x, use_reentrant=False)

    saved, plain = Net(saving, block=Block()), Net(lambda net, x: net.block(x), block=Block())
    plain.load_state_dict(saved.state_dict())
    saved.train()
    buffers = {name: value.clone() for name, value in saved.named_buffers()}
    ours = gradcam(wrap(saved, size=SIZE), images(), layer="first")
    expected = gradcam(wrap(plain.eval(), size=SIZE), images(), layer="first")
    close(ours.maps, expected.maps)
    for name, value in saved.named_buffers():
        assert torch.equal(value, buffers[name]), name
    with pytest.raises(ConvlensError, match="computes this layer again"):
        gradcam(wrap(saved, size=SIZE), images(), layer="block.norm")
