"""Color maps: a diverging one for signed numbers, a sequential one for others, and color bars."""

from typing import Literal

import matplotlib
import numpy as np
import torch
from matplotlib.colors import Colormap, LinearSegmentedColormap
from torch import Tensor

from convlens.errors import ConvlensError

NAN_COLOR = "#ff00ff"  # magenta, which neither map contains
_SMALLEST = 2.0**-1022  # as a divisor: zero stays zero, other numbers reach the end of the scale


def diverging_colors(values: Tensor, scale: float) -> Tensor:
    """Colors of signed numbers: blue below zero, white at zero, red above zero.

    Matplotlib's RdBu_r with white instead of light gray in the middle. NaN is magenta.

    Args:
        values: values in a tensor of any shape.
        scale: magnitude with the full color; larger magnitudes have it too. At scale 0 all numbers
            but zero have it.

    Returns:
        uint8 `(..., 3)`.

    Raises:
        ConvlensError: a scale below zero or not finite.

    Example:
        >>> import torch
        >>> diverging_colors(torch.tensor([0.0]), scale=1.0).tolist()
        [[255, 255, 255]]
    """
    return _apply_colormap(DIVERGING, scale_signed(values, scale) / 2 + 0.5)


def sequential_colors(values: Tensor, low: float, high: float) -> Tensor:
    """Colors of numbers in matplotlib's viridis, which is perceptually uniform. NaN is magenta.

    Args:
        values: values in a tensor of any shape.
        low: number with the darkest color; smaller numbers have it too.
        high: number with the lightest color; larger numbers have it too.

    Returns:
        uint8 `(..., 3)`.

    Raises:
        ConvlensError: `high` below `low`, or either not finite.
    """
    if not 0 <= high - low < float("inf"):
        raise ConvlensError(f"no colors from {low:g} to {high:g}; give low <= high, both finite")
    above = values.detach().cpu().double() - low
    return _apply_colormap(SEQUENTIAL, (above / max(high - low, _SMALLEST)).clamp(0, 1))


def color_bar(
    length: int,
    thickness: int = 12,
    *,
    colors: Literal["diverging", "sequential", "gray"] = "diverging",
    upright: bool = False,
) -> Tensor:
    """The color bar of a color map, from its lowest to its highest number.

    Args:
        length: pixels along the bar.
        thickness: pixels across the bar; default: 12.
        colors: the color map; gray, from black to white, is for each channel of a color filter.
            Default: "diverging".
        upright: highest number on top; else on the right. Default: False.

    Returns:
        uint8 `(thickness, length, 3)`, upright `(length, thickness, 3)`.
    """
    palette = {"diverging": DIVERGING, "sequential": SEQUENTIAL, "gray": GRAY}[colors]
    line = _apply_colormap(palette, torch.linspace(0, 1, length, dtype=torch.float64))
    picture = line.expand(thickness, length, 3)
    return (picture.transpose(0, 1).flip(0) if upright else picture).contiguous()


def scale_signed(values: Tensor, scale: float) -> Tensor:
    """Values divided by scale and clamped to -1..1, float64 on the CPU; their signs at scale 0."""
    if not 0 <= scale < float("inf"):
        raise ConvlensError(f"a scale of {scale:g}; give a finite number of at least 0")
    values = values.detach().cpu().double()
    return (values / max(scale, _SMALLEST)).clamp(-1, 1)


def _apply_colormap(palette: Colormap, unit: Tensor) -> Tensor:
    colors = np.asarray(
        palette(unit.numpy(), bytes=True)
    )  # matplotlib returns a tuple for a single number
    return torch.from_numpy(colors[..., :3].copy())


def _white_at_zero() -> Colormap:
    # The eleven anchors of RdBu (ColorBrewer) with a white middle. With an odd number of colors,
    # zero has a color of its own.
    anchors = matplotlib.colormaps["RdBu_r"](np.linspace(0, 1, 11, dtype=np.float32))
    anchors[5] = 1
    palette = LinearSegmentedColormap.from_list("convlens_diverging", anchors, N=511)
    return palette.with_extremes(bad=NAN_COLOR)


DIVERGING = _white_at_zero()
SEQUENTIAL = matplotlib.colormaps["viridis"].with_extremes(bad=NAN_COLOR)
GRAY = matplotlib.colormaps["gray"]
