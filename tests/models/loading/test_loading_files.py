"""Weight files in every supported form, and damaged, foreign or unsafe files."""

import csv
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convlens.models.loading import demo_photos
from convlens.models.loading.load import load
from support.folders import SHARED
from support.loadable import message
from support.tensors import same_tensors

pytest_plugins = "support.loadable"
pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def state(nets):
    return load(f"python:{nets}:network", seed=7).network.state_dict()


def save(content, path):
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "at@home.pth"])
def test_file_with_another_form_as_architecture(name, tmp_path, nets, state):
    path = save(state, tmp_path / name)
    model = load(f"file:{path}@python:{nets}:model")
    assert same_tensors(model.network.state_dict(), state)
    assert model.labels == ("cat", "dog") and model.mean == (0.25,) and model.size == (32, 32)
    assert model.name == f"Net from {name}" and str(path) in model.origin


def test_file_needs_no_weights_of_its_architecture(tmp_path):
    drawn = load("torchvision:squeezenet1_1@random", seed=3)
    path = save(drawn.network.state_dict(), tmp_path / "w.safetensors")
    for architecture in ("torchvision:squeezenet1_1", "torchvision:squeezenet1_1@random"):
        model = load(f"file:{path}@{architecture}")
        assert same_tensors(model.network.state_dict(), drawn.network.state_dict())
        assert model.labels[282] == "tiger cat"


def test_file_into_the_default_network_without_the_demo_package(tmp_path, default, monkeypatch):
    path = save(default.network.state_dict(), tmp_path / "w.safetensors")
    monkeypatch.setattr(demo_photos, "find_spec", lambda name: None)
    assert same_tensors(
        load(f"file:{path}@default").network.state_dict(), default.network.state_dict()
    )


@pytest.mark.parametrize("nesting", ["state_dict", "model", "model_state_dict", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_file_unwraps_what_training_scripts_save(nesting, prefix, tmp_path, nets, state):
    inner = {prefix + key: tensor for key, tensor in state.items()}
    path = save({"epoch": 3, nesting: inner, "optimizer": {}}, tmp_path / "w.pt")
    assert same_tensors(load(f"file:{path}@python:{nets}:network").network.state_dict(), state)


def test_file_from_before_batch_norm_counted(tmp_path, nets, state):
    old = {key: tensor for key, tensor in state.items() if "num_batches" not in key}
    path = save(dict(old), tmp_path / "w.safetensors")
    assert same_tensors(load(f"file:{path}@python:{nets}:network").network.state_dict(), state)


def test_file_of_another_architecture(tmp_path, nets, state):
    other = {key: tensor for key, tensor in state.items() if "norm" not in key}
    other["conv.weight"] = torch.zeros(4, 3, 5, 5)
    other |= {f"extra{index}": torch.zeros(1) for index in range(5)}
    text = message(f"file:{save(other, tmp_path / 'w.pt')}@python:{nets}:network")
    assert "4 missing (norm.weight, norm.bias, norm.running_mean, …)" in text
    assert "5 unexpected (extra0, extra1, extra2, …)" in text
    assert "1 of another shape (conv.weight is (4, 3, 5, 5), wanted (4, 3, 3, 3))" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_file_with_values_that_are_none(value, tmp_path, nets, state):
    state["head.weight"][1, 2] = value
    text = message(f"file:{save(state, tmp_path / 'w.pt')}@python:{nets}:network")
    assert "head.weight holds NaN or infinity in 1 of 8 values" in text


def test_file_with_a_variance_that_overflowed(tmp_path, nets, state):
    state["norm.running_var"][0] = torch.inf
    text = message(f"file:{save(state, tmp_path / 'w.pt')}@python:{nets}:network")
    assert "norm.running_var holds NaN or infinity" in text


class CreatesFile:
    """A pickle of it creates a file when it is read carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "safetensors"])
def test_pickle_that_wants_to_run_code(kind, tmp_path, nets):
    trap = tmp_path / "was_here"
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    content = {"state_dict": {"w": torch.zeros(1)}, "trap": CreatesFile(trap)}
    if kind in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    else:
        path.write_bytes(pickle.dumps(CreatesFile(trap)))
    text = message(f"file:{path}@python:{nets}:network")
    assert not trap.exists()
    if kind in ("zip", "legacy"):
        assert "wants to run posix.mkdir while it is read, which is not done" in text
    pickle.loads(pickle.dumps(CreatesFile(trap)))
    assert trap.exists()  # so it would have sprung


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_damaged_weight_files_are_refused_in_one_line(name, tmp_path, nets, state):
    path = save(state, tmp_path / name)
    spec = f"file:{path}@python:{nets}:network"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    assert f"{path} is damaged or not " in message(spec)
    path.write_bytes(b"hello, I am no network")
    assert f"{path} is damaged or not " in message(spec)
    path.write_bytes(b"")
    assert f"{path} is empty" in message(spec)
    path.unlink()
    assert f"there is no file {path}" in message(spec)
    path.mkdir()
    assert f"{path} is a folder" in message(spec)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.zeros(1)], "holds a list; a mapping of names to tensors is needed"),
        ({"epoch": 3, "model": {"lr": 0.1}}, "holds no tensors"),
        (nn.Linear(1, 1), "wants to run torch.nn.modules.linear.Linear"),
    ],
)
def test_files_without_a_state_dict(content, says, tmp_path, nets):
    assert says in message(f"file:{save(content, tmp_path / 'w.pt')}@python:{nets}:network")


@pytest.mark.slow
def test_squeezenet_is_right_on_most_photos():
    weights, photos = SHARED / "weights/squeezenet1_1.safetensors", SHARED / "photos/imagenet"
    if not (weights.exists() and photos.exists()):
        pytest.skip(f"no real weights and photos in {SHARED}")
    with (photos / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    model = load(f"file:{weights}@torchvision:squeezenet1_1")
    right = 0
    for start in range(0, len(rows), 50):
        batch = rows[start : start + 50]
        with torch.no_grad():
            answers = model(model.prepare([photos / row["filename"] for row in batch])).argmax(1)
        right += sum(int(row["index"]) == k for row, k in zip(batch, answers.tolist(), strict=True))
    # 57 %, as with torchvision's own transforms; 50 % with a mean and deviation of 0.5
    assert right / len(rows) >= 0.55
