"""Drifting gratings: the stimuli of an orientation tuning measurement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.models.model import Model

_HIGHEST_FREQUENCY = 0.4  # cycles per pixel, of the default frequencies
_FREQUENCIES = 8  # number of default frequencies


@dataclass(frozen=True)
class Gratings:
    """Cosine gratings of every orientation, frequency and phase.

    Attributes:
        orientations: float32 `(O,)`, of the bars, in degrees, counter-clockwise from horizontal.
        frequencies: float32 `(S,)`, in cycles per pixel.
        phases: number of steps P of the drift over one cycle.
        contrast: greatest minus least pixel, as a share of the span of the bounds.
        size: height and width of the images in pixels.
        center: row and column about which the gratings drift, in pixels.
    """

    orientations: Tensor
    frequencies: Tensor
    phases: int
    contrast: float
    size: tuple[int, int]
    center: tuple[float, float]

    def __len__(self) -> int:
        return len(self.orientations) * len(self.frequencies) * self.phases

    def draw(self, model: Model, indices: Tensor) -> Tensor:
        """Gray gratings about the middle of the model's bounds.

        Args:
            model: model for whose bounds, channels and device the gratings are drawn.
            indices: int64 `(N,)`, of the gratings in the order `(O, S, P)`.

        Returns:
            Images `(N, C, H, W)`, channels last in memory.
        """
        orientation = torch.deg2rad(
            self.orientations[indices // (len(self.frequencies) * self.phases)]
        )
        frequency = self.frequencies[indices // self.phases % len(self.frequencies)]
        phase = (indices % self.phases).float() * (2 * math.pi / self.phases)
        y = torch.arange(self.size[0], dtype=torch.float32)[:, None] - self.center[0]
        x = torch.arange(self.size[1], dtype=torch.float32) - self.center[1]
        # The coordinate across the bars, which rise to the right while rows grow downward.
        across = x * orientation.sin()[:, None, None] + y * orientation.cos()[:, None, None]
        wave = torch.cos(2 * math.pi * frequency[:, None, None] * across - phase[:, None, None])
        low, high = model.bounds
        gray = (low + high) / 2 + wave * (high - low) * self.contrast / 2
        images = gray[:, None].expand(-1, model.channels, -1, -1)
        return images.contiguous(memory_format=torch.channels_last).to(model.device)


def choose_frequencies(frequencies: Sequence[float] | None, extent: int) -> Tensor:
    """Frequencies of the gratings `(S,)`, in cycles per pixel.

    Args:
        frequencies: those that were asked for, or None for eight from one cycle in the receptive
            field (at least one in 64 pixels) to 0.4, evenly spaced in octaves.
        extent: pixels of the receptive field along its longer side.

    Raises:
        ConvlensError: a frequency is out of range, or they are not evenly spaced in octaves.
    """
    if frequencies is None:
        lowest = max(1 / 64, min(1 / extent, 0.1))
        return torch.logspace(
            math.log2(lowest),
            math.log2(_HIGHEST_FREQUENCY),
            _FREQUENCIES,
            base=2.0,
            dtype=torch.float32,
        )
    cycles = torch.tensor(list(frequencies), dtype=torch.float32)
    if not len(cycles) or bool(((cycles <= 0) | (cycles > 0.5)).any()):
        raise ConvlensError(
            f"frequencies {list(frequencies)}; give cycles per pixel above 0 and at most 0.5"
        )
    steps = torch.log2(cycles).diff()
    if len(cycles) > 2 and float(steps.max() - steps.min()) > 1e-3:
        raise ConvlensError(
            "the frequencies are not evenly spaced in octaves; give frequencies with a "
            "constant ratio from each to the next"
        )
    return cycles
