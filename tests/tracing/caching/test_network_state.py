"""A trace is made again when a network computes something else than before."""

import types
from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as torch_module

import convlens

SIZE = 16


@dataclass
class Settings:
    """Settings of a network, as configuration libraries keep them."""

    dilation: int = 1


class Nested:
    def __init__(self, dilation):
        self.layers = [{"first": Settings(dilation)}]


class Configured(nn.Module):
    """Takes its dilation from settings at each run."""

    def __init__(self, settings, read):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.settings, self.read = settings, read

    def forward(self, x):
        dilation = self.read(self.settings)
        return self.head(F.conv2d(x, self.first.weight, dilation=dilation).relu().mean((2, 3)))


def read_item(settings):
    return settings["dilation"]


def read_attribute(settings):
    return settings.dilation


def set_item(settings, value):
    settings["dilation"] = value


def set_attribute(settings, value):
    settings.dilation = value


def field_size(model):
    model_trace = convlens.trace(model)
    return model_trace.field(model_trace.find_node("/conv2d")).size


@pytest.mark.parametrize(
    ("settings", "read", "change"),
    [
        ({"dilation": 1}, read_item, set_item),
        (Namespace(dilation=1), read_attribute, set_attribute),
        (types.SimpleNamespace(dilation=1), read_attribute, set_attribute),
        (Settings(), read_attribute, set_attribute),
        (
            Nested(1), lambda settings: settings.layers[0]["first"].dilation,
            lambda settings, value: set_attribute(settings.layers[0]["first"], value),
        ),
        ({1}, max, lambda settings, value: settings.add(value)),
    ],
    ids=["dictionary", "Namespace", "SimpleNamespace", "dataclass", "nested", "set"],
)  # fmt: skip
def test_changed_settings_are_traced_again(settings, read, change):
    model = convlens.wrap(Configured(settings, read), size=SIZE)
    assert field_size(model) == (3, 3)
    change(settings, 3)
    assert field_size(model) == (7, 7)


def test_changed_argument_of_a_partial_function():
    network = Configured(None, partial(max, 1))
    model = convlens.wrap(network, size=SIZE)
    network.settings = 1
    assert field_size(model) == (3, 3)
    network.read = partial(max, 2)
    assert field_size(model) == (5, 5)


class Permuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)
        self.register_buffer("rows", torch.arange(SIZE))

    def forward(self, x):
        return self.head(self.first(x[:, :, self.rows]).relu().mean((2, 3)))


@pytest.mark.parametrize("change", ["in place", "data"])
def test_changed_indices_in_a_buffer(change):
    network = Permuted()
    model = convlens.wrap(network, size=SIZE)

    def first_row():
        model_trace = convlens.trace(model)
        return model_trace.field(model_trace.find_node("first")).offset[0]

    assert first_row() == 0
    reversed_rows = torch.arange(SIZE - 1, -1, -1)
    if change == "in place":
        network.rows.copy_(reversed_rows)
    else:
        network.rows.data = reversed_rows
    assert first_row() == SIZE - 1


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.first(x).relu().mean((2, 3)))


class WithSoftmax(Plain):
    def forward(self, x):
        return super().forward(x).softmax(1)


def softmax_of(network, x):
    return network.head(network.first(x).relu().mean((2, 3))).softmax(1)


def test_a_network_of_another_class_is_traced_again():
    network = Plain()
    model = convlens.wrap(network, size=SIZE)
    assert convlens.trace(model).final_activation == ""
    network.__class__ = WithSoftmax
    assert convlens.trace(model).final_activation == "softmax"


def test_another_forward_of_the_class(monkeypatch):
    model = convlens.wrap(Plain(), size=SIZE)
    assert convlens.trace(model).final_activation == ""
    monkeypatch.setattr(Plain, "forward", softmax_of)
    assert convlens.trace(model).final_activation == "softmax"


def test_one_bound_method_after_another():
    network: Any = Plain()
    network.forward = types.MethodType(Plain.forward, network)
    model = convlens.wrap(network, size=SIZE)
    assert convlens.trace(model).final_activation == ""
    network.forward = types.MethodType(softmax_of, network)
    assert convlens.trace(model).final_activation == "softmax"


def test_hook_on_all_modules():
    network = Plain()
    model = convlens.wrap(network, size=SIZE)
    assert convlens.trace(model).final_activation == ""

    def add_softmax(module, inputs, output):
        return output.softmax(1) if isinstance(module, nn.Linear) else None

    handle = torch_module.register_module_forward_hook(add_softmax)
    try:
        assert convlens.trace(model).final_activation == "softmax"
    finally:
        handle.remove()


def test_settings_that_stay_the_same_keep_the_trace():
    looped: list[Any] = [1]
    looped.append(looped)
    settings = {"dilation": 1, "names": ["a"] * 5000, "mean": torch.zeros(3), "looped": looped}
    model = convlens.wrap(Configured(settings, read_item), size=SIZE)
    assert convlens.trace(model) is convlens.trace(model)
