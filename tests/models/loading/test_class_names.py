"""Names of the classes from a file of the user and from checkpoints."""

import argparse
import json

import pytest
import torch
from safetensors.torch import save_file

from convlens.errors import ConvlensError
from convlens.models.loading.class_names import parse_class_names, read_class_names
from convlens.models.loading.load import load

pytest_plugins = "support.loadable"

NAMES = ("hen", "emu, big bird")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "hen\nemu, big bird\n\n"),
        ("names.txt", "\ufeffhen\r\n emu, big bird"),
        ("names.json", json.dumps(NAMES)),
        ("names.json", json.dumps({"emu, big bird": 1, "hen": 0})),
        ("names.json", json.dumps({"1": "emu, big bird", "0": "hen"})),
        ("index.json", json.dumps({"0": ["n1", "hen"], "1": ["n2", "emu, big bird"]})),
    ],
)
def test_files_in_every_form_give_the_same_names(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_class_names(tmp_path / name) == NAMES


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("n.txt", b"hen\n\nemu\n", "line 2: no class name"),
        ("n.txt", b" \n", "is empty"),
        ("n.txt", b"\xff\xfe", "not text in UTF-8"),
        ("n.json", b"[" * 100_000, "not JSON"),
        ("n.json", b'{"hen": 0, "emu": 2}', "holds no class names"),
        ("n.json", b"3", "holds no class names"),
    ],
)
def test_files_that_hold_no_names(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConvlensError, match=words) as caught:
        read_class_names(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConvlensError, match="cannot be read"):
        read_class_names(tmp_path / "missing.txt")


@pytest.mark.parametrize("value", [None, [], ["a", 1], {"a": True, "b": 0}, {0: "a", 2: "b"}, "ab"])
def test_what_holds_no_names(value):
    assert parse_class_names(value) is None


@pytest.mark.parametrize(
    "extra",
    [
        {"class_to_idx": {"emu, big bird": 1, "hen": 0}},
        {"meta": {"CLASSES": list(NAMES)}},
        {"hyper_parameters": {"lr": 0.1, "class_names": NAMES}},
        {"args": argparse.Namespace(classes=list(NAMES), lr=0.1)},
        {"config": {"id2label": {0: "hen", 1: "emu, big bird"}}},
    ],
)
def test_names_in_a_checkpoint(extra, tmp_path, nets):
    state = load(f"python:{nets}:network", seed=7).network.state_dict()
    torch.save({"state_dict": state, **extra}, tmp_path / "w.pt")
    model = load(f"file:{tmp_path}/w.pt@python:{nets}:model")
    assert model.labels == NAMES and "labels of the file" in model.origin


def test_names_in_the_header_of_safetensors(tmp_path, nets):
    state = load(f"python:{nets}:network").network.state_dict()
    save_file(state, tmp_path / "w.safetensors", {"classes": json.dumps(NAMES), "format": "pt"})
    assert load(f"file:{tmp_path}/w.safetensors@python:{nets}:network").labels == NAMES


def test_names_of_another_number_are_not_used(tmp_path, nets):
    state = load(f"python:{nets}:network").network.state_dict()
    torch.save({"state_dict": state, "classes": ["a", "b", "c"]}, tmp_path / "w.pt")
    assert load(f"file:{tmp_path}/w.pt@python:{nets}:model").labels == ("cat", "dog")


def test_the_labels_of_other_classes_are_not_kept(tmp_path, nets):
    state = load(f"python:{nets}:network").network.state_dict()
    state |= {"head.weight": torch.ones(3, 4), "head.bias": torch.zeros(3)}
    spec = f"file:{tmp_path}/w.pt@python:{nets}:model"
    torch.save({"net": state}, tmp_path / "w.pt")
    model = load(spec)
    assert model.labels is None and "3 outputs as in the file" in model.origin
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 3)
    torch.save({"net": state, "classes": ["a", "b", "c"]}, tmp_path / "w.pt")
    assert load(spec).labels == ("a", "b", "c")


def test_a_file_of_names_comes_first(tmp_path, nets):
    (tmp_path / "names.txt").write_text("hen\nemu, big bird\n")
    model = load(f"python:{nets}:model", class_names=tmp_path / "names.txt")
    assert model.labels == NAMES and model.class_names == str(tmp_path / "names.txt")


def test_the_description_of_a_checkpoint_names_the_file_of_names(tmp_path, nets):
    names = tmp_path / "names.txt"
    names.write_text("hen\nemu, big bird\n")
    torch.save(load(f"python:{nets}:network").network.state_dict(), tmp_path / "w.pt")
    spec = f"file:{tmp_path}/w.pt@python:{nets}:network"
    assert load(spec).origin.endswith("; no labels")
    assert load(spec, class_names=names).origin.endswith(f"; labels of {names}")
