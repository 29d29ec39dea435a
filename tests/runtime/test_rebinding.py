"""Networks whose `forward` is a function of the user that finds the network in its surroundings."""

import threading
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import convlens
from convlens.runtime.clone import clone_network
from convlens.runtime.rebinding import rebind

SIZE = 8
shared = nn.Module()  # a test puts a network here, as a notebook has one in a global variable


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))


def of_closure(network):
    return lambda x: network.head(network.body(x).tanh().mean((2, 3)))


def of_its_modules(network):
    layers = {"all": [network.body, (network.head,)]}
    return lambda x: layers["all"][1][0](layers["all"][0](x).tanh().mean((2, 3)))


def of_default(network):
    return lambda x, net=network: net.head(net.body(x).tanh().mean((2, 3)))


def of_keyword_default(network):
    def forward(x, *, net=network):
        return net.head(net.body(x).tanh().mean((2, 3)))

    return forward


def of_global(network):
    globals()["shared"] = network
    return lambda x: shared.head(shared.body(x).tanh().mean((2, 3)))


def of_partial(network):
    return partial(lambda net, x: net.head(net.body(x).tanh().mean((2, 3))), network)


def of_recursive_function(network):
    def forward(x, again=True):
        return forward(x, again=False) if again else network.head(network.body(x).mean((2, 3)))

    return forward


@pytest.mark.parametrize(
    "make",
    [
        of_closure, of_its_modules, of_default, of_keyword_default, of_global, of_partial,
    ],
)  # fmt: skip
def test_layers_are_known(make):
    network: Any = Network().eval()
    network.forward = make(network)
    model = convlens.wrap(network, size=SIZE)
    images = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        activations = network.body(images).tanh()
    torch.testing.assert_close(convlens.predict(model, images).logits, network(images).detach())
    leaf = activations.requires_grad_()
    (slope,) = torch.autograd.grad(network.head(leaf.mean((2, 3)))[:, 1].sum(), leaf)
    right = (slope.mean((2, 3), keepdim=True) * leaf).sum(1).detach()
    cam = convlens.gradcam(model, images, classes=[1], layer="body", side="post")
    torch.testing.assert_close(cam.maps[:, 0], right)


class WithHelpers(nn.Sequential):
    def forward(self, x):
        return self.helpers["steps"][0](x)


def test_functions_in_containers_leave_the_original_alone():
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    network: Any = WithHelpers(*layers, nn.Flatten(), nn.Linear(4, 3)).train()
    network.helpers = {"steps": [lambda x: nn.Sequential.forward(network, x)]}
    network.helpers["itself"] = network.helpers
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = torch.rand(2, 3, SIZE, SIZE)
    clone: Any = clone_network(network)
    ran = []
    network[0].register_forward_hook(lambda *_: ran.append("original"))
    clone(images)
    assert not ran
    network[0]._forward_hooks.clear()
    cam = convlens.gradcam(convlens.wrap(network, size=SIZE), images)
    assert cam.nodes == ("1",) and network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_function_around_the_earlier_forward():
    network: Any = Network().eval()
    earlier = network.body.forward
    network.body.forward = lambda x: earlier(x).tanh()
    model = convlens.wrap(network, size=SIZE)
    images = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        right = network.body(images).amax((0, 2, 3))
    layer = convlens.patches(model, images, layers=["body"], side="output", top=1, show=1)["body"]
    torch.testing.assert_close(layer.values[:, 0], right)
    assert convlens.trace(model).field(convlens.trace(model).find_node("body")).size == (3, 3)


@pytest.mark.parametrize("make", [of_closure, of_global])
def test_the_clone_runs_its_own_modules(make):
    network: Any = Network()
    network.forward = make(network)
    clone = clone_network(network)
    ran = []
    clone.body.register_forward_hook(lambda *_: ran.append("clone"))
    network.body.register_forward_hook(lambda *_: ran.append("original"))
    clone(torch.rand(1, 3, SIZE, SIZE))
    assert ran == ["clone"]


def test_a_function_in_its_own_closure():
    network: Any = Network()
    network.forward = of_recursive_function(network)
    images = torch.rand(1, 3, SIZE, SIZE)
    torch.testing.assert_close(clone_network(network)(images), network(images))


def test_what_refers_to_nothing_stays_itself():
    lock, network = threading.Lock(), Network()
    looped: list[Any] = [{}]
    looped[0]["list"] = looped
    values = [
        looped,
        lambda x: (lock, looped, x),
        partial(max, 1),
        {"a": [1, (2,)]},
        network.forward,
        len,
        3,
        None,
    ]
    assert all(rebind(value, {}) is value for value in values)
