"""Nodes that code makes by an assignment, `x[...] = y`, and by conversion to another type."""

import pytest
import torch
from torch import nn

import convlens
from convlens.capture.gradients import compute_gradients
from convlens.capture.nodes import capture_nodes

SIZE = 8


class Written(nn.Module):
    """Convolution, an assignment into its result, and a head."""

    def __init__(self, write):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 3)
        self.write = write

    def finish(self, y):
        return self.head(self.second(y).relu().mean((2, 3)))

    def forward(self, x):
        y = self.first(x).clone()
        self.write(y)
        return self.finish(y)


def clip(y):
    y[y < 0] = 0


def blank(y):
    y[:, :, 0] = 0


def swap(y):
    y[:, [0, 1]] = y[:, [1, 0]]


def twice(y):
    y[:, 0] = y[:, 1]
    y[y < 0] = 0


WRITES = {"clip": clip, "blank": blank, "swap": swap, "twice": twice}


def written(network, images):
    with torch.no_grad():
        y = network.first(images).clone()
        network.write(y)
    return y


@pytest.fixture
def images():
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", WRITES)
def test_written_tensor_is_captured(name, images):
    network = Written(WRITES[name]).eval()
    model = convlens.wrap(network, size=SIZE)
    model_trace = convlens.trace(model)
    node = model_trace.find_node("/setitem#2" if name == "twice" else "/setitem")
    assert model_trace.spatial_dims(node) == (2, 3)
    right = written(network, images)
    assert torch.equal(capture_nodes(model, model_trace, images, [node])[node], right)

    leaf = right.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network.finish(leaf)[:, 1].sum(), leaf)
    logits = model_trace.logits
    # The second layer too: the gradient at the written tensor then goes through the network's own.
    first = model_trace.find_node("first")
    for nodes in ([node], [first, node]):
        captured = capture_nodes(model, model_trace, images, [*nodes, logits], gradient_nodes=nodes)
        ones = torch.zeros(1, 2, 3)
        ones[0, :, 1] = 1
        gradients = compute_gradients(captured[logits], [captured[n] for n in nodes], ones)
        torch.testing.assert_close(gradients[-1][0], slope)
    leaf = network.first(images).detach().requires_grad_()
    y = leaf.clone()
    network.write(y)
    (slope,) = torch.autograd.grad(network.finish(y)[:, 1].sum(), leaf)
    torch.testing.assert_close(gradients[0][0], slope)


def test_clipping_is_the_non_linearity_of_its_layer(images):
    network = Written(clip).eval()
    model = convlens.wrap(network, size=SIZE)
    right = written(network, images).flatten(2).amax(2).T.sort(1, descending=True).values
    layer = convlens.patches(model, images, layers=["first"], top=2, show=1)["first"]
    assert layer.node_name == "/setitem" and layer.post
    torch.testing.assert_close(layer.values, right)


def test_node_inside_an_operation_is_refused_in_true_words():
    def through_a_view(y):
        y[:, :2].relu_()

    model = convlens.wrap(Written(through_a_view), size=SIZE)
    model_trace = convlens.trace(model)
    node = model_trace.find_node("second:in")
    assert model_trace.spatial_dims(node) is None
    with pytest.raises(convlens.ConvlensError, match="where no run can be stopped"):
        capture_nodes(model, model_trace, torch.zeros(1, 3, SIZE, SIZE), [node])


@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.bfloat16])
def test_non_linearity_in_another_precision(convert, images):
    class Converted(Written):
        def forward(self, x):
            return self.finish(convert(self.first(x)).relu().float())

    network = Converted(None).eval()
    model = convlens.wrap(network, size=SIZE)
    layer = convlens.patches(model, images, layers=["first"], top=1, show=1)["first"]
    assert layer.post
    with torch.no_grad():
        right = convert(network.first(images)).relu().float()
    torch.testing.assert_close(layer.values[:, 0], right.amax((0, 2, 3)))
    post = convlens.gradcam(model, images, classes=[1], layer="first", side="post").maps
    leaf = right.requires_grad_()
    (slope,) = torch.autograd.grad(network.finish(leaf)[:, 1].sum(), leaf)
    cam = (slope.mean((2, 3), keepdim=True) * leaf).sum(1).detach()
    torch.testing.assert_close(post[:, 0], cam, rtol=1e-2, atol=1e-2 * float(cam.abs().max()))
