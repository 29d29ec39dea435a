"""Gradients of several directions at once, and networks that compute again in the backward pass."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from convlens import ConvlensError, gradcam, wrap
from convlens.capture.gradients import compute_gradients
from convlens.capture.nodes import capture_nodes
from support.cut_networks import SIZE, Net, close, images, prepared, slopes
from support.traced_networks import conv

# several directions at once


def every_class(logits):
    directions = torch.zeros(logits.shape[1], *logits.shape)
    for index in range(logits.shape[1]):
        directions[index, :, index] = 1
    return directions


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("build", ["resnet18", "mobilenet_v2", "densenet121", "squeezenet1_0"])
def test_batched_directions_equal_the_loop(build, memory_format):
    torch.manual_seed(0)
    network = getattr(torchvision.models, build)(weights=None, num_classes=5).eval()
    model, model_trace = prepared(network, 64)
    start = model_trace.final_layer.pre[0]
    given = images(size=64).contiguous(memory_format=memory_format)
    captured = capture_nodes(
        model, model_trace, given, [model_trace.logits], gradient_nodes=[start]
    )
    logits = captured[model_trace.logits]
    directions = every_class(logits)
    (together,) = compute_gradients(logits, [captured[start]], directions)
    for index, direction in enumerate(directions):
        (alone,) = torch.autograd.grad(logits, captured[start], direction, retain_graph=True)
        torch.testing.assert_close(together[index], alone, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_gradients_have_the_memory_format_of_the_maps(count, memory_format):
    leaf = torch.randn(2, 4, 3, 3).contiguous(memory_format=memory_format).requires_grad_()
    post = leaf.relu()
    were_channels_last = []
    post.grad_fn.register_hook(
        lambda slopes, given: were_channels_last.append(given[0].stride()[1] == 1)
    )
    logits = post.mean((2, 3))
    directions = torch.rand(count, 2, 4)
    (slope,) = compute_gradients(logits, [leaf], directions)
    close(slope, (directions / 9)[..., None, None] * (leaf.detach() > 0))
    assert were_channels_last == [memory_format is torch.channels_last]
    # The graph is as it was before.
    torch.autograd.grad(logits, leaf, directions[0])
    assert not were_channels_last[-1]


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
