"""Weight files without the name of their network, and networks without their library."""

import argparse

import pytest
import torch
import torchvision
from torch import nn

from convlens.models.loading.architectures import find_architecture
from convlens.models.loading.load import load
from convlens.models.loading.weights.weight_files import read_weight_file
from support.loadable import message
from support.tensors import same_tensors

pytest_plugins = "support.loadable"
pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def squeezenet():
    """The state dict of a small network of torchvision."""
    return load("torchvision:squeezenet1_1@random", seed=5).network.state_dict()


def save(path, content):
    torch.save(content, path)
    return path


def test_the_tensors_name_the_network(tmp_path, squeezenet):
    path = save(tmp_path / "model.pth", squeezenet)
    model = load(path)
    assert model.spec == f"file:{path}@torchvision:squeezenet1_1"
    assert same_tensors(model.network.state_dict(), squeezenet)
    assert model.mean == (0.485, 0.456, 0.406) and model.labels[282] == "tiger cat"
    assert "torchvision:squeezenet1_1, recognized by the weights" in model.origin


@pytest.mark.parametrize("classes", [1000, 7])
def test_a_network_that_is_a_part_of_another_one(classes, tmp_path):
    # All tensors of ResNet-18 are in the weights of ResNet-34, in the same shapes.
    with torch.device("meta"):
        network = torchvision.models.resnet34(num_classes=classes)
    state = {
        key: torch.zeros(()).expand(value.shape) for key, value in network.state_dict().items()
    }
    path = save(tmp_path / "model.pth", state)
    assert find_architecture(read_weight_file(path)) == "torchvision:resnet34"


def test_a_checkpoint_of_lightning_with_another_number_of_classes(tmp_path, squeezenet):
    tuned = {f"model.{key}": value for key, value in squeezenet.items()}
    tuned["model.classifier.1.weight"] = torch.ones(7, 512, 1, 1)
    tuned["model.classifier.1.bias"] = torch.ones(7)
    content = {"epoch": 3, "state_dict": tuned, "hyper_parameters": {"lr": 0.1}}
    model = load(save(tmp_path / "epoch=3.ckpt", content))
    assert model.spec.endswith("epoch=3.ckpt@torchvision:squeezenet1_1")
    assert model.network.classifier[1].out_channels == 7 and model.labels is None


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("model.pth", {"arch": "tf_mobilenetv3_small_minimal_100"}),
        ("model.pth", {"args": argparse.Namespace(model="tf_mobilenetv3_small_minimal_100")}),
        ("run-3_tf_mobilenetv3_small_minimal_100-best.pth", {}),
    ],
)
def test_a_network_of_timm_that_the_file_mentions(name, beside, tmp_path):
    architecture = "timm:tf_mobilenetv3_small_minimal_100"
    state = load(f"{architecture}@random").network.state_dict()
    model = load(save(tmp_path / name, {"state_dict": state, **beside}))
    assert model.spec == f"file:{tmp_path / name}@{architecture}"


def test_a_wrong_name_is_not_believed(tmp_path, squeezenet):
    path = save(tmp_path / "resnet18.pth", {"arch": "resnet18", "state_dict": squeezenet})
    assert load(path).spec.endswith("@torchvision:squeezenet1_1")


def test_an_architecture_without_its_library(tmp_path, squeezenet):
    path = save(tmp_path / "model.pth", squeezenet)
    assert load(f"{path}@squeezenet1_1").spec == f"file:{path}@torchvision:squeezenet1_1"


def test_a_network_of_ones_own_has_to_be_named(tmp_path):
    path = save(tmp_path / "model.pth", nn.Conv2d(3, 4, 3).state_dict())
    problem = message(path)
    assert f"{path} fits no network of torchvision" in problem
    assert f"{path}@python:FILE.py:FUNCTION" in problem


def test_names_without_a_library():
    assert load("squeezenet1_1@random").spec == "torchvision:squeezenet1_1@random"
    assert load("resnet10t@random").spec == "timm:resnet10t@random"
    assert "nearest: resnet50" in message("resnet5O")


def test_a_folder_that_is_no_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("squeezenet1_1", "photos"):
        (tmp_path / name).mkdir()
    assert load("squeezenet1_1@random").spec == "torchvision:squeezenet1_1@random"
    assert "photos holds no convlens checkpoint" in message("photos")


def test_a_factory_without_its_form(nets):
    assert load(f"{nets}:model").spec == f"python:{nets}:model"
