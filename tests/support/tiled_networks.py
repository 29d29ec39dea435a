"""Small networks that run in tiles, and a limit of memory that makes them do so."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convlens
from convlens.tracing import memory

SIZE = 203, 178


class SamePadding(nn.Module):
    """Padding that depends on the size of its input, as in TensorFlow."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        height, width = (
            max((-(-side // self.stride) - 1) * self.stride + 3 - side, 0) for side in x.shape[2:]
        )
        edges = (width // 2, width - width // 2, height // 2, height - height // 2)
        return self.conv(F.pad(x, edges))


class Residual(nn.Module):
    """A block that writes in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y += x
        return F.relu(y, inplace=True)


def strided() -> nn.Sequential:
    """Layers whose first maps are large and whose last maps are small."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3, stride=4), nn.ReLU(inplace=True)
    )


def head() -> tuple[nn.Module, ...]:
    """Three class scores from 4 channels."""
    return nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)


NETWORKS = {
    "strides": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 4, 3, padding=1, stride=2), *head(),
    ),
    "residual": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), Residual(4), nn.MaxPool2d(2), Residual(4), nn.Conv2d(4, 4, 3), *head()
    ),
    "same padding": lambda: nn.Sequential(SamePadding(3, 2), SamePadding(3, 2), SamePadding(3, 1),
        nn.Conv2d(3, 4, 1), *head()),
    "modules that overwrite": lambda: nn.Sequential(
        strided(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), *head()
    ),
}  # fmt: skip


def model_of(network: Callable[[], nn.Module], **options: Any) -> convlens.Model:
    """A model of a network with fixed weights."""
    torch.manual_seed(0)
    return convlens.wrap(network().eval(), size=SIZE, **options)


def photo() -> Tensor:
    """An image of noise."""
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def allow_share(
    monkeypatch: pytest.MonkeyPatch, model: convlens.Model, share: float
) -> list[tuple[int, int]]:
    """Allow a share of the memory that a run on the whole image takes.

    Returns:
        The sizes of all images that run from now on, in the order of the runs.
    """
    sizes: list[tuple[int, int]] = []
    forward = nn.Conv2d.forward

    def recording_forward(module: nn.Conv2d, images: Tensor) -> Tensor:
        if type(images) is Tensor and module.in_channels == 3:
            sizes.append((images.shape[2], images.shape[3]))
        return forward(module, images)

    trace = convlens.trace(model)
    needed = 4 * memory.count_values(trace, [trace.logits])
    monkeypatch.setattr(memory, "_LARGE", 1)
    monkeypatch.setattr(nn.Conv2d, "forward", recording_forward)
    monkeypatch.setenv(memory.LIMIT_VARIABLE, f"{share * needed / 1e9:.12f}")
    return sizes


def assert_in_tiles(sizes: Sequence[tuple[int, int]]) -> None:
    """Check that there were several runs, and none of the whole image."""
    height, width = map(max, zip(*sizes, strict=True))
    assert height < SIZE[0] or width < SIZE[1]
    assert len(sizes) > 2
