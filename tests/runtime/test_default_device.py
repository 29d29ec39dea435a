"""A default device of torch on which tensors have no values is named in one line."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import convlens
from support import public_functions
from support.other_device import plain_network

WITHOUT_TENSORS = {"folder_labels"}


@pytest.fixture(scope="module")
def model():
    return convlens.wrap(plain_network(), size=public_functions.SIZE)


@pytest.mark.parametrize("name", sorted(public_functions.CALLS.keys() - WITHOUT_TENSORS))
def test_public_functions_name_it(name, model, monkeypatch):
    images = public_functions.images(8)
    monkeypatch.setattr(public_functions, "images", lambda count=2: images[:count])
    with (
        torch.device("meta"),
        pytest.raises(convlens.ConvlensError, match="where the default device is the CPU"),
    ):
        public_functions.CALLS[name](model)


def test_a_model_names_it(model):
    images = public_functions.images()
    with (
        torch.device("meta"),
        pytest.raises(convlens.ConvlensError, match="new tensors are made on 'meta'"),
    ):
        model(images)


def test_a_default_device_that_is_the_cpu(model):
    images = public_functions.images()
    expected = convlens.gradcam(model, images)
    with torch.device("cpu"):
        assert convlens.gradcam(model, images) == expected


@pytest.mark.parametrize(
    "call",
    [
        lambda: convlens.cortex(np.zeros((32, 32, 3), np.uint8)),
        lambda: convlens.translation(np.zeros((200, 200, 3), np.uint8)),
        lambda: convlens.learn_filters([np.zeros((32, 32, 3), np.uint8)], filters=4, steps=1),
        lambda: convlens.open_data("digits"),
    ],
    ids=["cortex", "translation", "learn_filters", "open_data"],
)
def test_functions_without_a_model_name_it(call):
    with (
        torch.device("meta"),
        pytest.raises(convlens.ConvlensError, match="where the default device is the CPU"),
    ):
        call()


def test_gabor_functions_are_computed_where_their_arguments_are():
    x = torch.linspace(-3, 3, 7)
    arguments = (1.0, 0.1, 0.2, 1.5, 0.3, 0.5, -0.5, 0.7)
    with torch.device("meta"):
        values = convlens.gabor(x, x, *arguments)
    assert torch.equal(values, convlens.gabor(x, x, *arguments))


def test_tensors_of_modules_are_on_the_cpu_wherever_they_are_imported():
    code = """
import gc, importlib, pkgutil, torch
import convlens
with torch.device("meta"):
    for module in pkgutil.walk_packages(convlens.__path__, "convlens."):
        if "analyses" in module.name:
            importlib.import_module(module.name)
tensors = [each for each in gc.get_objects() if isinstance(each, torch.Tensor)]
assert len(tensors) >= 3
assert {tensor.device.type for tensor in tensors} == {"cpu"}, tensors
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
