"""Any default type of torch: results are the same, because tensors are created with their types."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convlens
from support import public_functions
from support.public_functions import CALLS, NAMES, SIZE, WRITING, call

# Functions whose result has the default type unless one is given.
CREATING = {"empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randn", "tensor"}
CREATING |= {"fftfreq", "hann_window", "normal", "rfftfreq", "zeros"}
RANDOM = {"rand", "randn", "normal", "linspace", "logspace"}  # a later conversion is too late
CONVERSIONS = {"bool", "double", "float", "int", "long", "to"}


def make_network():
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "0": nn.Conv2d(3, 4, 3), "1": nn.ReLU(), "2": nn.MaxPool2d(2), "7": nn.Conv2d(4, 6, 3),
        "8": nn.BatchNorm2d(6), "9": nn.ReLU(), "10": nn.AdaptiveAvgPool2d(1),
        "11": nn.Flatten(), "12": nn.Linear(6, 5),
    }  # fmt: skip
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network.eval()


@pytest.fixture
def restored_dtype():
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", [name for name in NAMES if name in CALLS])
def test_results_do_not_depend_on_the_default_type(name, tmp_path, monkeypatch, restored_dtype):
    fixed = public_functions.images(6)
    monkeypatch.setattr(public_functions, "images", lambda count=2: fixed[:count].clone())
    expected = call(name, convlens.wrap(make_network(), size=SIZE), tmp_path)
    other = convlens.wrap(make_network(), size=SIZE)  # whose trace is not known yet
    torch.set_default_dtype(torch.float64)
    result = call(name, other, tmp_path)
    if name == "trace":
        assert result.shape(result.logits) == expected.shape(expected.logits)
    else:
        assert result == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITING)
def test_what_writes_runs_with_another_default_type(name, tmp_path, restored_dtype):
    model = convlens.wrap(make_network(), size=SIZE)
    torch.set_default_dtype(torch.float64)
    call(name, model, tmp_path)
    assert list(tmp_path.rglob("*.json"))


def test_a_network_of_the_default_type(restored_dtype):
    torch.set_default_dtype(torch.float64)
    model = convlens.wrap(make_network(), size=SIZE)
    images = public_functions.images()
    assert convlens.gradcam(model, images).maps.isfinite().all()
    assert convlens.patches(model, images, top=2, show=2).layers


def test_networks_are_loaded_and_trained_in_float32(tmp_path, restored_dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 12), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=pixels, labels=np.arange(40) % 2)
    weights = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.set_default_dtype(dtype)
        out = tmp_path / str(dtype)
        convlens.train(tmp_path / "data.npz", out=out, network="lenet5", epochs=1, device="cpu")
        for spec in (str(out), "torchvision:squeezenet1_1@random", "timm:resnet10t@random"):
            weights.append(list(convlens.load(spec).network.parameters()))
        assert torch.get_default_dtype() == dtype
    for first, second in zip(weights[:3], weights[3:], strict=True):
        assert all(map(torch.equal, first, second))


def untyped_calls(source):
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(word.arg == "dtype" for word in node.keywords):
            continue
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in CREATING:
            continue
        module, _, name = ast.unparse(node.func).rpartition(".")
        if module not in ("torch", "torch.fft"):
            continue
        parent = parents[node]
        converted = isinstance(parent, ast.Attribute) and parent.attr in CONVERSIONS
        if not converted or name in RANDOM:
            yield f"line {node.lineno}: torch.{name}"


def test_tensors_are_created_with_explicit_types():
    root = Path(convlens.__file__).parent
    untyped = {
        str(path): list(untyped_calls(path.read_text("utf-8"))) for path in root.rglob("*.py")
    }
    assert {path: calls for path, calls in untyped.items() if calls} == {}
    assert list(untyped_calls("torch.zeros(3); torch.rand(2).float()")) == [
        "line 1: torch.zeros",
        "line 1: torch.rand",
    ]
