"""Fingerprints of resume folders: they change with values, and never with names of classes."""

import enum
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convlens import ConvlensError, PassOptions, load, patches, wrap
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.runtime.fingerprints import fingerprint, to_plain
from convlens.tracing.model_fingerprint import fingerprint_model
from convlens.tracing.recording.recording import NodeRef


@dataclass(frozen=True)
class Crop:
    size: tuple[int, int]
    mode: str = "center"


@dataclass(frozen=True)
class Cut:
    size: tuple[int, int]
    mode: str = "center"


class Side(enum.Enum):
    pre = "pre"


def model(mean=0.0):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    return wrap(network, size=8, resize=9, mean=mean)


def test_values_become_plain():
    plain = to_plain(
        {
            "crop": Crop((3, 4)),
            "side": Side.pre,
            "path": Path("a") / "b",
            "dtype": torch.float16,
            "number": np.float32(0.5),
            "channels": {3, 1},
            "pairs": {(1, 2): None},
        }
    )
    assert plain == {
        "crop": {"size": [3, 4], "mode": "center"},
        "side": "pre",
        "path": "a/b",
        "dtype": "torch.float16",
        "number": 0.5,
        "channels": [1, 3],
        "pairs": [[[1, 2], None]],
    }
    assert json.loads(json.dumps(plain)) == plain


def test_arrays_are_told_apart_by_every_value():
    values = torch.arange(3000)
    same, other = values.clone(), values.clone()
    other[1500] += 1  # where a repr leaves values out
    assert fingerprint(values) == fingerprint(same) == fingerprint(values.numpy())
    assert fingerprint(values) != fingerprint(other)
    assert fingerprint(values) != fingerprint(values.double())
    assert fingerprint(values) != fingerprint(values.view(30, 100))


def test_the_name_of_a_class_does_not_count():
    assert fingerprint([Crop((3, 4))]) == fingerprint([Cut((3, 4))])
    assert fingerprint([Crop((3, 4))]) != fingerprint([Crop((3, 5))])


def test_functions_have_no_fingerprint():
    with pytest.raises(TypeError, match="function is no plain value"):
        fingerprint({"target": lambda logits: logits})


def test_neither_names_nor_reprs_of_our_classes_count(monkeypatch):
    wrapped = model()
    boxes = {"a.png": (ObjectBox((1,), 0.0, 0.0, 4.0, 4.0),)}
    before = fingerprint_model(wrapped), fingerprint(boxes)

    def fail(self):
        raise AssertionError("a repr was hashed")

    classes: tuple[type, ...] = (type(wrapped.preprocessing), ObjectBox, NodeRef)
    names = [(cls.__name__, cls.__qualname__) for cls in classes]
    try:
        for cls in classes:
            monkeypatch.setattr(cls, "__repr__", fail)
            cls.__name__ = cls.__qualname__ = f"New{cls.__name__}"
        assert (fingerprint_model(model()), fingerprint(boxes)) == before
    finally:
        for cls, (name, qualified) in zip(classes, names, strict=True):
            cls.__name__, cls.__qualname__ = name, qualified


def test_preprocessing_counts():
    assert fingerprint_model(model()) == fingerprint_model(model())
    assert fingerprint_model(model()) != fingerprint_model(model(mean=0.5))
    wrapped = model()
    larger = replace(wrapped.preprocessing, resize=10)
    assert fingerprint_model(wrapped) != fingerprint_model(replace(wrapped, preprocessing=larger))


def test_a_resume_folder_of_another_version_is_refused(tmp_path):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    options = PassOptions(resume_folder=tmp_path / "kept")
    patches(model(), images, show=0, pass_options=options)
    path = tmp_path / "kept" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["format"] == 2
    for number, words in ((1, "was written by convlens 0.1"), (3, "written by a newer convlens")):
        path.write_text(json.dumps(manifest | {"format": number}))
        with pytest.raises(ConvlensError, match=words) as raised:
            patches(model(), images, show=0, pass_options=options)
        assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_the_same_model_has_the_same_fingerprint_in_another_process(tmp_path):
    import subprocess
    import sys

    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def network():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1),\n"
        "                               torch.nn.Flatten())\n"
    )
    spec = f"python:{tmp_path / 'mine.py'}:network"
    code = (
        "import sys, convlens\n"
        "from convlens.tracing.model_fingerprint import fingerprint_model\n"
        f"print(fingerprint_model(convlens.load({spec!r}, size=8)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == fingerprint_model(load(spec, size=8))
