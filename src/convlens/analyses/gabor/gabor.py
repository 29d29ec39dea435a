"""Gabor functions: a wave under a bell, what simple cells and many first-layer filters look like.

Coordinates are those of a picture: x to the right, y down, in pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.drawing import (
    add_color_bar,
    add_title,
    color_bar,
    diverging_colors,
    enlarge,
    make_sheet,
)
from convlens.errors import ConvlensError
from convlens.results import Result

_TILE = 44  # pixels that a filter is enlarged to, about
_BAR = 90  # pixels
_REACH = 3.0  # standard deviations of the envelope that a filter holds on each side

Number = float | Tensor


def gabor(
    x: Tensor,
    y: Tensor,
    A: Number,  # noqa: N803 - the chapter's letter
    alpha: Number,
    beta: Number,
    omega: Number,
    phi: Number,
    x0: Number,
    y0: Number,
    theta: Number,
) -> Tensor:
    """G(x, y) = A exp(-α x̃² - β ỹ²) sin(ω x̃ + φ), with x̃ and ỹ turned by θ about (x₀, y₀).

    x̃ = (x - x₀) cos θ + (y - y₀) sin θ and ỹ = -(x - x₀) sin θ + (y - y₀) cos θ (Bishop & Bishop,
    section 10.3). All arguments broadcast.

    Args:
        x: columns, in pixels to the right.
        y: rows, in pixels downwards.
        A: amplitude.
        alpha: of the envelope along the wave, in 1/pixel²; 1/(2σ²) for a standard deviation σ.
        beta: of the envelope across it.
        omega: angular frequency of the wave, in radians a pixel.
        phi: phase in radians; 0 is odd about the center, π/2 even.
        x0: center.
        y0: center.
        theta: direction in which the wave runs, in radians from x towards y.
    """
    turn = theta if isinstance(theta, Tensor) else torch.tensor(theta, dtype=torch.float64)
    cos, sin = turn.cos(), turn.sin()
    along = (x - x0) * cos + (y - y0) * sin
    across = -(x - x0) * sin + (y - y0) * cos
    return A * torch.exp(-alpha * along**2 - beta * across**2) * torch.sin(omega * along + phi)


def orientation(theta: float) -> float:
    """Orientation of the bars of a wave that runs in direction θ.

    Args:
        theta: radians from x (right) towards y (down).

    Returns:
        Degrees of 0 to 180, counter-clockwise from horizontal as one looks at the picture.
    """
    return (90.0 - math.degrees(theta)) % 180.0


def direction(orientation_degrees: float) -> float:
    """The chapter's θ, in radians of -π/2 to π/2, for bars of an orientation in degrees."""
    return math.radians((90.0 - orientation_degrees + 90.0) % 180.0 - 90.0)


@dataclass(frozen=True, eq=False)
class GaborBank(Result):
    """Gabor functions over orientation, frequency and phase, sampled as filters.

    Attributes:
        filters: float32 `(F, M, M)`, each of norm 1 and with a mean of 0.
        orientations: degrees, of the bars, for each filter.
        frequencies: cycles a pixel, for each.
        phases: degrees, for each; 0 is odd, 90 even.
    """

    filters: Tensor
    orientations: tuple[float, ...]
    frequencies: tuple[float, ...]
    phases: tuple[float, ...]

    def pictures(self) -> dict[str, Tensor]:
        """A row for each frequency and phase, a column for each orientation, on one scale."""
        scale = float(self.filters.abs().max())
        times = max(1, _TILE // self.filters.shape[-1])
        tiles = [enlarge(diverging_colors(one, scale), times) for one in self.filters]
        columns = len(dict.fromkeys(self.orientations))
        rows = zip(self.frequencies[::columns], self.phases[::columns], strict=True)
        drawn = make_sheet(
            tiles, columns, heads=[f"{one:.3g}°" for one in self.orientations[:columns]],
            sides=[f"{frequency:.3g}, {phase:g}°" for frequency, phase in rows],
        )  # fmt: skip
        ends = (f"−{scale:.2g}", "0", f"+{scale:.2g}")
        return {
            "bank": add_title(
                add_color_bar(drawn, color_bar(_BAR, upright=True), ends, "weight"),
                "Gabor functions",
                "across: orientation of the bars; down: cycles a pixel, and phase",
            )
        }


def gabor_bank(
    *,
    orientations: int = 8,
    frequencies: Sequence[float] = (0.125,),
    phases: Sequence[float] = (0.0, 90.0),
    bandwidth: float = 1.0,
    aspect: float = 0.5,
) -> GaborBank:
    """A bank of Gabor filters: for each frequency and phase all orientations.

    The envelope follows from the bandwidth b in octaves: σ = √(ln 2 / 2) (2ᵇ + 1) / ((2ᵇ - 1) π f)
    along the wave and σ / aspect across it. What an even filter would answer to plain brightness is
    taken off it in proportion to the envelope, so that only structure excites it.

    Args:
        orientations: how many, evenly spread over 180 degrees from horizontal on.
        frequencies: cycles a pixel, above 0 and at most 0.5.
        phases: degrees; 0 and 90 make a quadrature pair.
        bandwidth: octaves at half height; 1 to 1.5 in the visual cortex.
        aspect: width of the envelope along the wave to that across it.

    Raises:
        ConvlensError: a number out of range.
    """
    if orientations < 1 or not frequencies or not phases or bandwidth <= 0 or aspect <= 0:
        raise ConvlensError(
            f"{orientations} orientations, {len(frequencies)} frequencies, {len(phases)} phases, "
            f"bandwidth {bandwidth:g}, aspect {aspect:g}; give at least one of each, above 0"
        )
    for frequency in frequencies:
        if not 0 < frequency <= 0.5:
            raise ConvlensError(
                f"a frequency of {frequency:g} cycles a pixel; give more than 0 and at most 0.5"
            )
    spread = math.sqrt(math.log(2) / 2) * (2**bandwidth + 1) / ((2**bandwidth - 1) * math.pi)
    widest = spread / min(frequencies) * max(1.0, 1 / aspect)
    half = math.ceil(_REACH * widest)
    axis = torch.arange(-half, half + 1, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    made, parameters = [], []
    for frequency in frequencies:
        sigma = spread / frequency
        alpha, beta = 1 / (2 * sigma**2), aspect**2 / (2 * sigma**2)
        for phase in phases:
            for number in range(orientations):
                degrees = 180.0 * number / orientations
                theta, phi = direction(degrees), math.radians(phase)
                wave = gabor(x, y, 1.0, alpha, beta, 2 * math.pi * frequency, phi, 0, 0, theta)
                bell = gabor(x, y, 1.0, alpha, beta, 0.0, math.pi / 2, 0, 0, theta)
                balanced = wave - bell * (wave.sum() / bell.sum())
                made.append((balanced / balanced.norm()).float())
                parameters.append((degrees, float(frequency), float(phase)))
    degrees_of, frequencies_of, phases_of = zip(*parameters, strict=True)
    return GaborBank(torch.stack(made), degrees_of, frequencies_of, phases_of)
