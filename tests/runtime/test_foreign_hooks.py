"""Backward hooks of other libraries, code without gradients, and what cannot be copied."""

import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

import convlens
from convlens.runtime.clone import clone_network

SIZE = 8
IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


class Network(nn.Module):
    def __init__(self, *, inplace=False):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.act, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.act(self.body(x)).mean((2, 3)))


def guide(module, incoming, outgoing):
    """Guided backpropagation: what is negative does not go on."""
    return (incoming[0].clamp(min=0),)


HOOKS = {
    "guided": lambda network: network.act.register_full_backward_hook(guide),
    "on every module": lambda network: [
        module.register_full_backward_hook(lambda *_: None) for module in network.modules()
    ],
    "before the backward pass": lambda network: network.body.register_full_backward_pre_hook(
        lambda module, outgoing: tuple(2 * gradient for gradient in outgoing)
    ),
}


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", HOOKS)
def test_backward_hooks_change_no_gradient(name, inplace):
    network = Network(inplace=inplace).eval()
    model = convlens.wrap(network, size=SIZE)
    expected = [
        convlens.gradcam(model, IMAGES, classes=[1]), convlens.fgsm(model, IMAGES),
        convlens.gradcam_layers(model, IMAGES),
    ]  # fmt: skip
    HOOKS[name](network)
    before = [dict(m._backward_hooks) | dict(m._backward_pre_hooks) for m in network.modules()]
    results = [
        convlens.gradcam(model, IMAGES, classes=[1]), convlens.fgsm(model, IMAGES),
        convlens.gradcam_layers(model, IMAGES),
    ]  # fmt: skip
    assert results == expected
    after = [dict(m._backward_hooks) | dict(m._backward_pre_hooks) for m in network.modules()]
    assert after == before and any(before)


def test_backward_hooks_of_all_modules_change_no_gradient():
    model = convlens.wrap(Network().eval(), size=SIZE)
    expected = convlens.gradcam(model, IMAGES, classes=[1])

    def double(module, incoming, outgoing):
        return tuple(None if gradient is None else 2 * gradient for gradient in incoming)

    handle = torch_module.register_module_full_backward_hook(double)
    try:
        assert convlens.gradcam(model, IMAGES, classes=[1]) == expected
        assert list(torch_module._global_backward_hooks.values()) == [double]
    finally:
        handle.remove()
    assert not torch_module._global_backward_hooks


class Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class WithFunction(Network):
    def forward(self, x):
        return self.head(Clamp.apply(self.body(x)).mean((2, 3)))


class WithoutGradients(Network):
    def forward(self, x):
        with torch.no_grad():
            y = self.body(x)
        return self.head(self.act(y).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "options"),
    [(WithFunction(), {"side": "post"}), (WithoutGradients(), {"side": "output"})],
)
def test_no_map_of_zeros_where_no_gradient_can_start(network, options):
    model = convlens.wrap(network.eval(), size=SIZE)
    with pytest.raises(convlens.ConvlensError, match=r"starts at .* autograd\.Function"):
        convlens.gradcam(model, IMAGES, layer="body", **options)
    assert convlens.patches(model, IMAGES, layers=["body"], **options)["body"].values.any()


def test_a_function_of_its_own_has_a_map_before_it():
    network = WithFunction().eval()
    leaf = network.body(IMAGES).detach().requires_grad_()
    (slope,) = torch.autograd.grad(network.head(Clamp.apply(leaf).mean((2, 3)))[:, 1].sum(), leaf)
    right = (slope.mean((2, 3), keepdim=True) * leaf).sum(1).detach()
    cam = convlens.gradcam(convlens.wrap(network, size=SIZE), IMAGES, classes=[1])
    torch.testing.assert_close(cam.maps[:, 0], right)


class NoCopy:
    def __deepcopy__(self, memo):
        raise RuntimeError("there is one of it")


@pytest.mark.parametrize(
    "make",
    [
        threading.Lock, threading.Event, NoCopy, lambda: (number for number in range(3)),
        lambda: {"inner": [threading.Lock(), {1: torch}]},
    ],
)  # fmt: skip
def test_what_cannot_be_copied_is_shared(make, tmp_path):
    network: Any = Network().eval()
    expected = convlens.gradcam(convlens.wrap(network, size=SIZE), IMAGES)
    network.held, network.counts = make(), [0]
    clone: Any = clone_network(network)
    assert clone.counts is not network.counts
    if not isinstance(network.held, dict):
        assert clone.held is network.held
    assert convlens.gradcam(convlens.wrap(network, size=SIZE), IMAGES) == expected


def test_a_hook_that_writes_to_an_open_file(tmp_path):
    network = Network().eval()
    expected = convlens.gradcam(convlens.wrap(network, size=SIZE), IMAGES)
    with (tmp_path / "log.txt").open("w") as log:
        network.body.register_forward_hook(lambda *_: log.write("ran\n") and None)
        assert convlens.gradcam(convlens.wrap(network, size=SIZE), IMAGES) == expected


def test_a_network_that_cannot_be_copied_at_all():
    class Single(Network):
        def __deepcopy__(self, memo):
            raise RuntimeError("there is one of it")

    model = convlens.wrap(Single().eval(), size=SIZE)
    with pytest.raises(convlens.ConvlensError, match=r"Single cannot be copied, .* one of it"):
        convlens.gradcam(model, IMAGES)


def test_a_view_of_the_same_shape_before_the_non_linearity():
    class Viewed(Network):
        def forward(self, x):
            y = self.body(x)
            n, _, h, w = y.shape
            return self.head(self.act(y.view(n, -1, h, w)).mean((2, 3)))

    network = Viewed().eval()
    layer = convlens.patches(convlens.wrap(network, size=SIZE), IMAGES, top=2)["body"]
    assert (layer.node_name, layer.post) == ("act", True)
    with torch.no_grad():
        right = network.body(IMAGES).relu().flatten(2).amax(2).T.sort(1, descending=True).values
    torch.testing.assert_close(layer.values, right)
