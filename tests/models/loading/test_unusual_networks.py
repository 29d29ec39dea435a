"""Lazy networks, and buffers that hold infinity on purpose."""

import pytest
import torch
from torch import nn

import convlens
from convlens.models.loading.load import load
from support.loadable import message

pytest_plugins = "support.loadable"

LAZY = """
import torch
from torch import nn

def make():
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    )

def infinite():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for value in (torch.inf, -torch.inf):
        network.register_buffer(f"limit{value}", torch.tensor([value, 0.0]))
    return network

def unset():
    network = infinite()
    network.register_buffer("mean", torch.tensor([torch.nan]))
    return network
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "unusual.py").write_text(LAZY)
    return tmp_path / "unusual.py"


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_a_lazy_network_is_run_once(path):
    model = load(f"python:{path}:make", size=8, seed=3)
    assert isinstance(model.network[0], nn.Conv2d) and model.network[4].in_features == 144
    assert not model.network.training and model.network[1].num_batches_tracked == 0
    again = load(f"python:{path}:make", size=8, seed=3)
    assert torch.equal(model.network[0].weight, again.network[0].weight)
    assert convlens.anatomy(model).parameters == 4 * 27 + 4 + 8 + 2 * 144 + 2
    assert "does not run on an image of 3 x 2 x 2" in message(f"python:{path}:make", size=2)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_weights_of_a_lazy_network(path, tmp_path):
    trained = load(f"python:{path}:make", size=8, seed=5).network
    torch.save({"model": trained.state_dict()}, tmp_path / "w.pt")
    model = load(f"file:{tmp_path}/w.pt@python:{path}:make", size=8)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(model.network(images), trained(images))
    assert convlens.anatomy(model).parameters == 4 * 27 + 4 + 8 + 2 * 144 + 2


def test_infinite_buffers_are_no_sign_of_divergence(path):
    model = load(f"python:{path}:infinite", size=8)
    assert model(torch.rand(1, 3, 8, 8)).isfinite().all()
    assert "mean holds NaN or infinity" in message(f"python:{path}:unset", size=8)
