"""A network that answers which of red, green and blue is strongest, and photos of these colors."""

from pathlib import Path

from PIL import Image

CLASSES = ("red", "green", "blue")
SPEC = "python:colors.py:colors"

_NETWORK = """
import torch
from torch import nn
import convlens


def colors():
    stem, head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 3, bias=False)
    stem.weight.data.copy_({gain} * torch.eye(3)[:, :, None, None])
    head.weight.data.copy_(torch.eye(3))
    network = nn.Sequential(stem, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return convlens.wrap(network, size=16, labels=["red", "green", "blue"])
"""


def write_network(folder: Path, gain: float) -> None:
    """Write `colors.py`, which `SPEC` names; the logits are the mean colors times a gain."""
    (folder / "colors.py").write_text(_NETWORK.format(gain=gain))


def save_photo(path: Path, number: int, step: int) -> None:
    """Save the photo with a number: its class is the number modulo 3, its tint grows by `step`."""
    color = tuple(200 if number % 3 == channel else 60 + step * number for channel in range(3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), color).save(path)
