"""Networks in a file to load, the default network, and a computer without a network or cache."""

import socket

import pytest
from huggingface_hub import constants

from convlens.errors import ConvlensError
from convlens.models.loading.load import load
from convlens.models.loading.sources import timm_models

NETS = """
import torch
from torch import nn
from convlens.models.wrap import wrap

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).mean((2, 3)))

instance = Net()

def network():
    return Net()

def model():
    return wrap(Net(), mean=0.25, size=32, labels=("cat", "dog"), name="Net")

def needs(width):
    return Net()

def fails():
    raise ValueError("no data here")

def quits():
    raise SystemExit("usage: train")

def three():
    return 3

def masked():
    net = Net()
    net.register_buffer("mask", torch.full((2,), -torch.inf))
    return net
"""


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Nothing is downloaded, and nothing that is cached on this computer is found."""

    def unknown_host(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    monkeypatch.setattr(timm_models, "getproxies", dict)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture(scope="module")
def default():
    return load()


def message(*arguments, **options):
    """The error of `load`, checked to be one line without torch's advice to run the code."""
    with pytest.raises(ConvlensError) as caught:
        load(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text and "`weights_only`" not in text
    return text
