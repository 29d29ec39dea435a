"""Specs of models: unknown names, devices, factories in Python."""

import sys

import pytest
import timm
import torch

from convlens.models.loading.load import list_models, load
from support.loadable import message
from support.tensors import same_tensors

pytest_plugins = "support.loadable"
pytestmark = pytest.mark.usefixtures("no_network")


# Names


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("resnet5O", "unknown model 'resnet5O'; give one of default, "),
        ("torchvison:resnet50", "nearest: torchvision:resnet50"),
        ("defualt", "nearest: default"),
        ("", "unknown model ''"),
        ("torchvision:resnet5", "no network 'resnet5'; nearest: resnet50"),
        ("torchvision:raft_large", "takes no single images"),
        ("torchvision:resnet50@V3", "no weights 'V3'; there are IMAGENET1K_V1, IMAGENET1K_V2 and"),
        ("timm:resnt18", "no network 'resnt18'; nearest: resnet18"),
        ("timm:resnet18@a9", "no weights 'a9'; there are a1_in1k, "),
        ("file:weights.pt", "there is no file weights.pt"),
        ("file:weights.pt@resnet50", "there is no file weights.pt"),
        ("file:weights.pt@default", "there is no file weights.pt"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(spec, says):
    assert says in message(spec)


def test_timm_network_without_weights():
    name = next(name for name in timm.list_models() if not timm.is_model_pretrained(name))
    assert f"timm has no weights for {name}; use timm:{name}@random" in message(f"timm:{name}")


def test_paths_that_are_no_spec(tmp_path, nets):
    assert "no convlens checkpoint: there is no convlens.json" in message(tmp_path)
    assert f"{nets} is Python code; give {nets}:FACTORY" in message(nets)


def test_list_models_can_be_asked_for_by_name():
    known = list_models()
    assert known["embedded"] == ["default"]
    assert {"resnet50", "fcn_resnet50", "ssd300_vgg16"} <= set(known["torchvision"])
    assert "raft_large" not in known["torchvision"]
    assert "tf_efficientnet_lite0" in known["timm"]


# Devices


def test_devices_that_are_not_there(monkeypatch, nets):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert message(device="cuda") == "there is no device 'cuda' here; there is cpu"
    assert "no device 'gpu'" in message(device="gpu")
    assert load(f"python:{nets}:network", device="cpu").device == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert message(device="cuda:2").endswith("there is cpu, cuda, cuda:0, cuda:1")


# Factories


def test_factory_from_a_file(nets):
    model = load(f"python:{nets}:network", seed=5)
    assert model.name == "Net" and not model.network.training
    assert "gave no preprocessing" in model.origin
    assert load(f"python:{nets}:model").labels == ("cat", "dog")
    assert load(f"python:{nets}:instance").name == "Net"
    again = load(f"python:{nets}:network", seed=5).network.state_dict()
    assert same_tensors(model.network.state_dict(), again)


def test_factory_from_the_current_folder(nets, monkeypatch):
    nets.rename(nets.with_name("nets_of_this_test.py"))
    monkeypatch.chdir(nets.parent)
    before = list(sys.path)
    assert load("python:nets_of_this_test:model").name == "Net"
    assert sys.path == before


def test_factory_file_finds_its_neighbors(nets, tmp_path):
    (tmp_path / "neighbor_of_this_test.py").write_text("width = 5")
    nets.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from torch import nn\n"
        "from neighbor_of_this_test import width\n"
        "@dataclass\nclass Options:\n    width: int = width\n"
        "def make():\n    return nn.Conv2d(3, Options().width, 3)\n"
    )
    before = list(sys.path)
    assert load(f"python:{nets}:make").network.out_channels == 5
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("modle", "has no 'modle'; nearest: model"),
        ("needs", "cannot be called without arguments (missing a required argument: 'width')"),
        ("fails", "fails with ValueError: no data here (nets.py, line "),
        ("quits", "fails with SystemExit: usage: train"),
        ("three", "returned int; a torch.nn.Module or a convlens Model is needed"),
        ("__name__", "has no '__name__' that can be called"),
    ],
)
def test_factories_that_make_no_network(name, says, nets):
    assert says in message(f"python:{nets}:{name}")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("{folder}/none.py:make", "there is no file"),
        ("no_such_module:make", "there is no module 'no_such_module' in "),
        ("convlens.no_such_module:make", "there is no module 'convlens.no_such_module'"),
        ("{folder}/broken.py:make", "broken.py fails with SyntaxError"),
        ("{folder}/imports.py:make", "No module named 'no_such_module' (imports.py, line 2)"),
        ("make", "does not name a factory; write python:MODULE:FACTORY"),
    ],
)
def test_modules_that_cannot_be_imported(where, says, tmp_path):
    (tmp_path / "broken.py").write_text("def (:")
    (tmp_path / "imports.py").write_text("\nimport no_such_module")
    assert says in message(f"python:{where.format(folder=tmp_path)}")


def test_masks_of_minus_infinity_are_no_damage(nets):
    assert load(f"python:{nets}:masked").network.mask.isinf().all()
