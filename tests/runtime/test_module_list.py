"""`list_modules` against the method of torch."""

import pytest
import torch
from torch import nn

import convlens
from convlens.runtime.module_list import list_modules


def shared() -> nn.Module:
    relu = nn.ReLU()
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), relu)
    return nn.Sequential(inner, relu, nn.Sequential(inner, nn.Conv2d(4, 4, 1)), nn.Identity())


def with_missing_child() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network.register_module("extra", None)
    return network


def with_cycle() -> nn.Module:
    network = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Conv2d(3, 4, 3))
    network[0].register_module("parent", network)
    return network


@pytest.mark.parametrize("build", [shared, with_missing_child, with_cycle, nn.ReLU])
def test_modules_are_those_of_torch_in_the_same_order(build):
    network = build()
    modules, expected = list_modules(network), list(network.modules())
    assert list(map(id, modules)) == list(map(id, expected))


def test_swapped_children_are_traced_again():
    """The same modules in another order, which only the names of the children show."""
    first, second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, stride=2)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = first, second

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(images))

    network = Two()
    model = convlens.wrap(network, size=16)
    before = convlens.trace(model)
    network._modules["a"], network._modules["b"] = second, first
    after = convlens.trace(model)
    assert before is not after
    assert before.shape(before.find_node("a"))[2:] == (14, 14)
    assert after.shape(after.find_node("a"))[2:] == (7, 7)
