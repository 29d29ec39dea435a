"""Numbers to colors: one map for signed numbers, one for all others, and their bars."""

from typing import Literal

import matplotlib
import numpy as np
import torch
from matplotlib.colors import Colormap, LinearSegmentedColormap
from torch import Tensor

from convlens.errors import ConvlensError

NAN_COLOR = "#ff00ff"  # magenta, which neither map contains
_LEAST = 2.0**-1022  # divides zero to zero and all other numbers to the end of the scale


def diverging_colors(values: Tensor, scale: float) -> Tensor:
    """Signed numbers as colors: blue below zero, white at zero, red above.

    Matplotlib's RdBu_r, whose light gray in the middle is made white. NaN is magenta.

    Args:
        values: of any shape.
        scale: the magnitude that has the full color; larger ones have it too. At scale 0, the
            scale of a map of zeros, everything but zero has it.

    Returns:
        uint8 `(..., 3)`.

    Raises:
        ConvlensError: a scale below zero or not finite.
    """
    return _paint(_DIVERGING, scale_signed(values, scale) / 2 + 0.5)


def sequential_colors(values: Tensor, low: float, high: float) -> Tensor:
    """Numbers as colors of matplotlib's viridis, perceptually even. NaN is magenta.

    Args:
        values: of any shape.
        low: number with the darkest color; smaller ones have it too.
        high: number with the lightest color; larger ones have it too.

    Returns:
        uint8 `(..., 3)`.

    Raises:
        ConvlensError: `high` below `low`, or either not finite.
    """
    if not 0 <= high - low < float("inf"):
        raise ConvlensError(f"no colors from {low:g} to {high:g}; give low <= high, both finite")
    above = values.detach().cpu().double() - low
    return _paint(_SEQUENTIAL, (above / max(high - low, _LEAST)).clamp(0, 1))


def color_bar(
    length: int,
    thickness: int = 12,
    *,
    colors: Literal["diverging", "sequential", "gray"] = "diverging",
    upright: bool = False,
) -> Tensor:
    """The bar of a color map, from its least number to its greatest, as a picture.

    Args:
        length: pixels along the bar.
        thickness: pixels across it.
        colors: of which map; gray from black to white is each channel of a colored filter.
        upright: greatest number on top; else on the right.

    Returns:
        uint8 `(thickness, length, 3)`, upright `(length, thickness, 3)`.
    """
    palette = {"diverging": _DIVERGING, "sequential": _SEQUENTIAL, "gray": _GREY}[colors]
    line = _paint(palette, torch.linspace(0, 1, length, dtype=torch.float64))
    picture = line.expand(thickness, length, 3)
    return (picture.transpose(0, 1).flip(0) if upright else picture).contiguous()


def scale_signed(values: Tensor, scale: float) -> Tensor:
    """Values over scale, cut to -1..1, as float64 on the CPU; their signs at scale 0."""
    if not 0 <= scale < float("inf"):
        raise ConvlensError(f"a scale of {scale:g}; give a finite number of at least 0")
    values = values.detach().cpu().double()
    return (values / max(scale, _LEAST)).clamp(-1, 1)


def _paint(palette: Colormap, unit: Tensor) -> Tensor:
    colors = np.asarray(palette(unit.numpy(), bytes=True))  # a tuple, for a single number
    return torch.from_numpy(colors[..., :3].copy())


def _white_at_zero() -> Colormap:
    # RdBu's eleven anchors (ColorBrewer) with the middle one replaced. An odd number of steps
    # gives zero a step of its own.
    anchors = matplotlib.colormaps["RdBu_r"](torch.linspace(0, 1, 11).numpy())
    anchors[5] = 1
    palette = LinearSegmentedColormap.from_list("convlens_diverging", anchors, N=511)
    return palette.with_extremes(bad=NAN_COLOR)


_DIVERGING = _white_at_zero()
_SEQUENTIAL = matplotlib.colormaps["viridis"].with_extremes(bad=NAN_COLOR)
_GREY = matplotlib.colormaps["gray"]
