"""A small data set, the recipe of a short training, a finished run and its weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from convlens import train
from convlens.models.loading.specs import DESCRIPTION

RECIPE: dict[str, Any] = {"network": "lenet5", "epochs": 2, "batch": 20, "device": "cpu"}


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Bright squares on the left or on the right of noise: learned in a few steps."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (120, 12, 12), dtype=np.uint8)
    labels = np.arange(120) % 2
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, 6), rng.integers(0, 2) + 6 * label
        image[top : top + 4, left : left + 4] = 255
    path = tmp_path_factory.mktemp("data") / "squares.npz"
    np.savez(path, x_train=images[:100], y_train=labels[:100], x_test=images[100:],
             y_test=labels[100:])  # fmt: skip
    return path


def weights(run, which="last"):
    named = json.loads((Path(run) / DESCRIPTION).read_text())["checkpoints"]
    return load_file(Path(run) / named[which] / "weights.safetensors")


@pytest.fixture(scope="session")
def trained(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    messages = []
    options: dict[str, Any] = RECIPE | {"epochs": 8, "checkpoints": 3}
    result = train(archive, out=out, on_message=messages.append, **options)
    return out, result, messages
