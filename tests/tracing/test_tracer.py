"""Recording a run: branches on data, sizes that do not fit, networks that keep tensors."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.checkpoint import checkpoint

from convlens import ConvlensError, TraceError, anatomy, gradcam, predict, trace, wrap
from convlens.capture.nodes import capture_nodes
from support.traced_networks import SIZE, Head, Net, conv, images, sides, traced

# networks that look at their data


def branching(net, x):
    return x.relu() if x.mean() > 0 else -x


def with_item(net, x):
    return x * float(x.isfinite().all().item())


def through_numpy(net, x):
    return torch.from_numpy(np.tanh(x.numpy()))


@pytest.mark.parametrize("function", [branching, with_item, through_numpy])
def test_data_dependent_network_is_traced_for_this_input(function):
    torch.manual_seed(0)  # with some weights, two images of a batch take another branch than one
    network = Net(function)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model_trace = trace(wrap(network, size=SIZE), images())
    assert model_trace.valid_for == "this input"
    assert model_trace.shape(model_trace.logits) == (1, 5)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert traced(Net(lambda net, x: x.relu())).valid_for == "any input of this size"


def test_branch_follows_the_image():
    network = Net(branching)
    nn.init.zeros_(network.first.weight)
    for bias, name in ((1.0, "/relu"), (-1.0, "/neg")):
        nn.init.constant_(network.first.bias, bias)
        model_trace = trace(wrap(network, size=SIZE), images())
        assert name in list(model_trace.names())


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
    model_trace = trace(model, size=(12, 10), partly=True)
    node = model_trace.find_node("second")
    assert model_trace.shape(node) == (1, 4, 12, 10)
    assert [convolution.layer for convolution in model_trace.convolutions] == ["first", "second"]
    image = torch.rand(2, 3, 12, 10)
    inner = model.network
    with torch.no_grad():
        expected = inner.second(inner.first(image).relu())
    assert torch.equal(capture_nodes(model, model_trace, image, [node])[node], expected)
    with pytest.raises(
        TraceError, match="does not run to its end: the fully connected stage linear"
    ):
        model_trace.logits  # noqa: B018 # it raises
    with pytest.raises(ConvlensError, match="ends early: the fully connected stage linear takes"):
        model_trace.find_node("third")
    with pytest.raises(TraceError, match="linear"):
        trace(model, size=(12, 10))
    assert not trace(model, partly=True).recording.stopped


class Caching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head, self.features = conv(3, 4), Head(), None

    def forward(self, x):
        self.features = self.first(x).relu()
        return self.head(self.features)


def test_cached_tensor_on_the_users_module_is_not_a_fake_one():
    network = Caching()
    traced(network)
    assert network.features is None


def test_network_that_keeps_a_tensor_with_a_graph_is_traced():
    network = Caching()
    network(images())
    assert network.features.grad_fn is not None
    model_trace = traced(network)
    assert model_trace.valid_for == "any input of this size"
    assert sides(model_trace) == ("/relu", ["first"])
    assert not isinstance(network.features, FakeTensor)


def test_old_style_weight_norm_after_a_forward_pass_is_traced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = nn.Sequential(nn.utils.weight_norm(conv(3, 4)), nn.ReLU(), Head())
    network(images())
    assert sides(traced(network)) == ("1", ["0"])


def test_users_hook_keeps_no_fake_tensor():
    network, outputs = nn.Sequential(conv(3, 4), nn.ReLU(), Head()), {}
    network[0].register_forward_hook(
        lambda module, inputs, output: outputs.__setitem__("0", output)
    )
    traced(network)
    assert not isinstance(outputs.get("0"), FakeTensor)


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


def test_images_of_a_wrong_shape_are_reported_by_their_shape():
    model = wrap(nn.Sequential(conv(3, 4), nn.ReLU(), Head()), size=SIZE)
    for shape in ((2, 1, SIZE, SIZE), (5, SIZE, SIZE)):
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
