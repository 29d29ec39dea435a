"""Non-linearities written as several operations, and normalization before them.

The oracle is a forward hook: the pre side is what the activation module receives, the post side
what it returns.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens.capture.nodes import capture_nodes
from support.field_networks import Do


def masked_write(x):
    x = x.clone()
    x[x < 0] = 0
    return x


def masked_fill(x):
    y = x.clone()
    y.masked_fill_(x < 0, 0)
    return y


ACTIVATIONS = {
    "swish": lambda x: x * torch.sigmoid(x),
    "swish in place": lambda x: x.mul_(x.sigmoid()),
    "hard swish": lambda x: x * F.relu6(x + 3) / 6,
    "hard sigmoid": lambda x: F.relu6(x + 3) / 6,
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "gelu by tanh": lambda x: 0.5 * x * (1 + torch.tanh(0.797885 * (x + 0.044715 * x**3))),
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "leaky by where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "leaky by maximum": lambda x: torch.maximum(x, 0.1 * x),
    "leaky by two relus": lambda x: F.relu(x) - 0.1 * F.relu(-x),
    "channel slopes": lambda x: torch.where(
        x > 0, x, x * torch.linspace(0.1, 0.4, 4, dtype=x.dtype).view(4, 1, 1)
    ),
    "relu by a mask": lambda x: x * (x > 0),
    "relu by zeros_like": lambda x: torch.max(x, torch.zeros_like(x)),
    "relu by a masked write": masked_write,
    "relu by a masked fill": masked_fill,
    "squared relu": lambda x: F.relu(x) ** 2,
    "scaled tanh": lambda x: 1.7159 * torch.tanh(x * 2 / 3),
    "tanhshrink": lambda x: x - torch.tanh(x),
    "softsign": F.softsign,
    "log sigmoid": F.logsigmoid,
    "snake": lambda x: x + torch.sin(x) ** 2,
    "double precision": lambda x: (x.double() * x.double().sigmoid()).float(),
}


class Sigmoids(nn.Module):
    """The hard swish whose parts are modules."""

    def __init__(self):
        super().__init__()
        self.relu6 = nn.ReLU6()

    def forward(self, x):
        return x * self.relu6(x + 3) / 6


class Classifier(nn.Module):
    def __init__(self, activation, norm=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = norm or nn.BatchNorm2d(4)
        self.act = activation
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.act(self.norm(self.conv(x))).mean((2, 3)))


def hooked(module, network, images):
    """What a module receives and returns, without what it writes in place afterwards."""
    received, returned = [], []
    handles = [
        module.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0].clone())),
        module.register_forward_hook(lambda _, inputs, output: returned.append(output.clone())),
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return received[0], returned[0]


@pytest.mark.parametrize("name", [*ACTIVATIONS, "parts are modules"])
def test_sides_of_a_composed_activation(name):
    activation = Do(ACTIVATIONS[name]) if name in ACTIVATIONS else Sigmoids()
    network = Classifier(activation).eval()
    images = torch.rand(2, 3, 9, 9)
    model = convlens.wrap(network, size=9)
    trace = convlens.trace(model)
    torch.manual_seed(1)  # for the slopes that are drawn in the forward pass
    expected = hooked(network.act, network, images)
    (convolution,) = trace.convolutions
    final = trace.final_layer
    assert final.pre == convolution.sides.pre and final.post == convolution.sides.post
    assert trace.structure.is_pre(final.pre[0]) and trace.structure.is_post(final.post)
    for node, right in zip((*final.pre, final.post), expected, strict=True):
        torch.manual_seed(1)
        assert torch.equal(capture_nodes(model, trace, images, [node])[node], right)


@pytest.mark.parametrize("name", ["swish", "hard swish", "leaky by where"])
def test_gradcam_before_a_composed_activation(name):
    network = Classifier(Do(ACTIVATIONS[name])).eval()
    images = torch.rand(2, 3, 9, 9)
    pre = network.norm(network.conv(images)).detach().requires_grad_()
    scores = network.fc(network.act(pre).mean((2, 3)))[:, 1]
    (gradient,) = torch.autograd.grad(scores.sum(), pre)
    expected = (gradient.mean((2, 3), keepdim=True) * pre).sum(1)
    result = convlens.gradcam(convlens.wrap(network, size=9), images, classes=[1])
    torch.testing.assert_close(result.maps[:, 0], expected)


def written_layer_norm(x):
    mean = x.mean(1, keepdim=True)
    return (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)


def written_group_norm(x):
    groups = x.view(x.shape[0], 2, -1)
    groups = (groups - groups.mean(2, keepdim=True)) / (groups.std(2, keepdim=True) + 1e-6)
    return groups.view_as(x) * torch.tensor([1.0, 2, 3, 4]).view(4, 1, 1).to(x)


NORMS = {
    "instance norm": nn.InstanceNorm2d(4, affine=True),
    "group norm": nn.GroupNorm(2, 4),
    "written layer norm": Do(written_layer_norm),
    "written group norm": Do(written_group_norm),
    "root mean square": Do(lambda x: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)),
    "unit length": Do(F.normalize),
    "local response": Do(lambda x: F.local_response_norm(x, 3)),
    "channels last": Do(
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_a_convolution_before_normalization_has_the_sides_of_the_activation(name):
    network = Classifier(nn.ReLU(), NORMS[name]).eval()
    images = torch.rand(2, 3, 9, 9)
    model = convlens.wrap(network, size=9)
    trace = convlens.trace(model)
    received, returned = hooked(network.act, network, images)
    (convolution,) = trace.convolutions
    assert convolution.sides.nonlinear
    for node, right in zip(
        (*convolution.sides.pre, convolution.sides.post), (received, returned), strict=True
    ):
        torch.testing.assert_close(capture_nodes(model, trace, images, [node])[node], right)


class Scaled(nn.Module):
    """A module ReLU between scaling by the network's own code."""

    def __init__(self, before, after):
        super().__init__()
        self.conv, self.relu, self.next = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)
        self.before, self.after = before, after

    def forward(self, x):
        return self.next(self.after(self.relu(self.before(self.conv(x)))))


def test_module_boundaries_end_a_non_linearity():
    network = Scaled(lambda x: x * 2, lambda x: x * 3)
    trace = convlens.trace(convlens.wrap(network, size=9))
    sides = trace.convolutions[0].sides
    assert (trace.name(sides.pre[0]), trace.name(sides.post)) == ("/mul", "relu")
    # The scaled output is still a function of the ReLU's input alone.
    assert trace.structure.nonlinearity_input(trace.find_node("/mul#2")) == sides.pre[0]


def test_scaling_by_channel_is_no_part_of_a_non_linearity():
    scale = torch.tensor([1.0, 2, 3, 4]).view(4, 1, 1)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), Do(lambda x: torch.tanh(x * scale.to(x)) * scale.to(x))
    )
    trace = convlens.trace(convlens.wrap(network, size=9))
    sides = trace.convolutions[0].sides
    assert (trace.name(sides.pre[0]), trace.name(sides.post)) == ("1/mul", "1/tanh")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),  # a gate of the whole image
        lambda x: F.glu(torch.cat([x, x.flip(1)], 1), 1),
        lambda x: 2 * x - 1,
        lambda x: x + x,
        lambda x: F.softmax(x, 1),
    ],
)
def test_other_functions_are_no_non_linearities(function):
    network = Classifier(Do(function)).eval()
    trace = convlens.trace(convlens.wrap(network, size=9))
    assert not trace.convolutions[0].sides.nonlinear
    assert trace.structure.nonlinearity_inputs(trace.find_node("act")) is None


def test_branches_of_one_value_are_not_counted_twice():
    def concatenated(x):
        return torch.cat([F.relu(x), F.relu(-x)], 1)

    network = Classifier(Do(concatenated)).eval()
    network.fc = nn.Linear(8, 3)
    images = torch.rand(1, 3, 9, 9)
    pre = network.norm(network.conv(images)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.fc(network.act(pre).mean((2, 3)))[0, 1], pre)
    expected = (gradient.mean((2, 3), keepdim=True) * pre).sum(1)
    result = convlens.gradcam(convlens.wrap(network, size=9), images, classes=[1])
    torch.testing.assert_close(result.maps[:, 0], expected)


IN_PLACE = {
    "mish": lambda x: F.mish(x, inplace=True),
    "threshold": lambda x: F.threshold(x, 0.1, 0.2, inplace=True),
    "masked fill": lambda x: x.masked_fill_(x < 0, 0),
    "abs": torch.Tensor.abs_,
    "a mask in place": lambda x: x.mul_(x.clone().gt_(0)),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_forms_are_pointwise_as_the_others_are(name):
    # PyTorch tags some operations as pointwise in their form out of place alone.
    network = Classifier(Do(IN_PLACE[name])).eval()
    images = torch.rand(2, 3, 9, 9)
    model = convlens.wrap(network, size=9)
    trace = convlens.trace(model)
    assert not trace.unknown
    (convolution,) = trace.convolutions
    expected = hooked(network.act, network, images)
    for node, right in zip((*convolution.sides.pre, convolution.sides.post), expected, strict=True):
        assert torch.equal(capture_nodes(model, trace, images, [node])[node], right)
