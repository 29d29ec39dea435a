"""Pictures with words and numbers on them: scales, labels, plots. Drawn by matplotlib."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from convlens.drawing.captions import rendered

_DPI = 100
_TEXT = 8.0  # points
_INK = "#1d1d1b"
_FAINT = "#b9b9b2"
_ACCENT = "#8d4700"

Words = tuple[float, float, str]  # pixels from the left and from the top, and a text


def with_labels(
    pixels: Tensor,
    words: Sequence[Words],
    *,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Tensor:
    """A picture on white with texts on it and around it; elsewhere its pixels stay as they are.

    Args:
        pixels: uint8 `(H, W, 3)`.
        words: each with its left end and its middle line, in pixels of the picture; below zero and
            beyond its size they lie in the margins.
        margins: pixels above, on the right, below and on the left.

    Returns:
        uint8, larger by the margins.
    """
    top, right, bottom, left = margins
    height, width = pixels.shape[0] + top + bottom, pixels.shape[1] + left + right
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    for x, y, text in words:
        figure.text(
            (x + left) / width, 1 - (y + top) / height, text,
            fontsize=_TEXT, color=_INK, va="center", ha="left",
        )  # fmt: skip
    written = rendered(figure)
    picture = torch.full((height, width, 3), 255, dtype=torch.uint8)
    picture[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return torch.minimum(picture, written) if words else picture


def with_scale(pixels: Tensor, ramp: Tensor, ends: tuple[str, str]) -> Tensor:
    """A picture with the bar of its colours on the right, and what the bar's ends stand for.

    Args:
        pixels: uint8 `(H, W, 3)`.
        ramp: uint8 `(h, w, 3)` with h at most H, greatest number on top, as `bar(upright=True)`.
        ends: texts for the least and the greatest number.
    """
    high, wide = ramp.shape[:2]
    room = 12 + wide + 12 + 7 * max(map(len, ends))
    x = pixels.shape[1] + 12
    least, greatest = ends
    beside = x + wide + 5
    low = min(max(high - 5, 17), max(high, 17))
    below = max(0, low + 8 - pixels.shape[0])
    picture = with_labels(
        pixels, [(beside, 5, greatest), (beside, low, least)], margins=(0, room, below, 0)
    )
    picture[:high, x : x + wide] = ramp
    return picture


def half_circle(
    degrees: Sequence[float], radii: Sequence[float], strong: Sequence[bool], names: tuple[str, str]
) -> Tensor:
    """Dots over half a circle: orientation as one looks at the picture, cycles a pixel outwards.

    Args:
        degrees: of each dot, counter-clockwise from horizontal, 0 to 180.
        radii: of each dot, cycles a pixel.
        strong: dots that are filled; the others are faint.
        names: what the filled ones and the faint ones are.
    """
    figure = Figure(figsize=(6, 3.7), dpi=_DPI)
    axes = figure.add_axes((0.07, 0.0, 0.86, 1.0), projection="polar")
    axes.set_thetalim(0, math.pi)  # type: ignore[attr-defined]
    axes.set_ylim(0, outer_ring(radii))
    angles = [math.radians(one) for one in degrees]
    for wanted, name, look in (
        (False, names[1], {"facecolors": "none", "edgecolors": _FAINT}),
        (True, names[0], {"facecolors": _ACCENT, "edgecolors": "white", "linewidths": 0.5}),
    ):
        chosen = [at for at, one in enumerate(strong) if one == wanted]
        axes.scatter(
            [angles[at] for at in chosen], [radii[at] for at in chosen],
            s=28, label=f"{len(chosen)} {name}", **look,
        )  # fmt: skip
    axes.grid(color=_FAINT, linewidth=0.5)
    axes.tick_params(labelsize=_TEXT)
    centred: dict[str, Any] = {"fontsize": _TEXT, "color": _INK, "ha": "center"}
    figure.text(0.5, 0.955, "orientation of the bars", **centred)
    figure.text(0.72, 0.125, "cycles a pixel", **centred)
    figure.legend(loc="lower center", ncols=2, fontsize=_TEXT, frameon=False)
    return rendered(figure)


def outer_ring(radii: Sequence[float]) -> float:
    """The least tenth that all radii reach, at least 0.1."""
    return max(1, math.ceil(round(10 * max(radii, default=0.0), 6))) / 10
