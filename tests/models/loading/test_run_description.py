"""Hostile and damaged descriptions of run folders: one line that names the field."""

import copy
import json
from typing import Any

import pytest

from convlens.errors import ConvlensError
from convlens.models.loading.load import load
from convlens.models.loading.run_description import find_damage
from convlens.models.loading.run_folder import FORMAT, read_run_folder
from convlens.models.loading.specs import DESCRIPTION

DESCRIBED: dict[str, Any] = {
    "format": FORMAT,
    "network": {
        "name": "lenet5", "size": [12, 12], "channels": 1, "classes": 2, "pooling": "max"
    },
    "preprocessing": {
        "size": [12, 12], "resize": None, "interpolation": "bilinear", "center": "data",
        "mean": [0.5], "std": [0.2], "bounds": [0.0, 1.0],
    },
    "labels": ["left", "right"],
    "training": {
        "data": "squares", "fingerprint": "1f", "images": 100, "validated": 20,
        "held_out": "the data's own test images", "validation_share": None, "skipped": [],
        "class_images": [10, 10], "recipe": {"epochs": 2},
    },
    "progress": {
        "step": 8, "loss": 0.5, "history": [], "class_correct": [], "best_class_correct": [],
    },
    "checkpoints": {"last": "step-0000008", "best": "step-0000008", "scheduled": []},
}  # fmt: skip

WRONG = [
    ("checkpoints", None),
    ("checkpoints.best", "../../elsewhere"),
    ("checkpoints.best", "/step-0000008"),
    ("checkpoints.last", ["step-0000008"]),
    ("checkpoints.scheduled", None),
    ("checkpoints.scheduled", ["step-0000008", "step-0000001/.."]),
    ("network", []),
    ("network.channels", 1e9),
    ("network.channels", 10**9),
    ("network.channels", True),
    ("network.classes", -1),
    ("network.classes", 3),
    ("network.size", [12]),
    ("network.size", [12, 10**6]),
    ("network.name", {}),
    ("preprocessing.size", "12"),
    ("preprocessing.resize", 0),
    ("preprocessing.mean", [float("nan")]),
    ("preprocessing.mean", [0.0, 0.0]),
    ("preprocessing.std", [float("inf")]),
    ("preprocessing.bounds", [0]),
    ("labels", "ab"),
    ("labels", [1, 2]),
    ("training.recipe", None),
    ("training.class_images", None),
    ("training.class_images", [20]),
    ("training.validation_share", "a tenth"),
    ("progress.class_correct", [-1, 2]),
    ("progress.step", -1),
    ("progress.step", "8"),
    ("progress.loss", None),
    ("progress.history", [{"step": 8}]),
    ("progress.history", [[1]]),
]


def changed(name, value):
    description = copy.deepcopy(DESCRIBED)
    *parents, last = name.split(".")
    inner: Any = description
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return description


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_fields_that_no_training_writes(name, value, tmp_path):
    (tmp_path / DESCRIPTION).write_text(json.dumps(changed(name, value)))
    with pytest.raises(ConvlensError, match="is damaged") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value) and name.split(".")[-1] in str(caught.value)


def test_a_right_description_has_no_damage():
    assert find_damage(DESCRIBED) == ""
    assert find_damage(changed("preprocessing.interpolation", "x" * 999)) == ""  # Model refuses it
    assert len(find_damage(changed("network.name", ["x"] * 999))) < 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "cannot be read"),
        ("[]", "is not the description of a training"),
        ('{"format": "2"}', "is not the description of a training"),
        ('{"format": true}', "is not the description of a training"),
        ('{"format": 1}', "trained by an earlier version"),
        ('{"format": ' + "9" * 5000 + "}", "cannot be read"),
        ("\udcff", "cannot be read"),
    ],
)
def test_files_with_other_contents_are_refused_in_one_line(text, words, tmp_path):
    (tmp_path / DESCRIPTION).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConvlensError, match=words) as caught:
        read_run_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_huge_network_is_refused_before_it_is_built(tmp_path):
    description = changed("network.channels", 900_000)  # 7 billion weights of the first layer
    description["network"] |= {"name": "alexnet", "size": [64, 64]}
    (tmp_path / DESCRIPTION).write_text(json.dumps(description))
    (tmp_path / "step-0000008").mkdir()
    (tmp_path / "step-0000008/weights.safetensors").write_bytes(b"0" * 100)
    with pytest.raises(ConvlensError, match=r"has [\d,]+ parameters, which are more than"):
        load(tmp_path)
