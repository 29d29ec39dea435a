"""Plots with axes, made by matplotlib."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from convlens.drawing.captions import render_figure
from convlens.drawing.palette import ACCENT, INK, LINE

_DPI = 100
_TEXT = 8.0  # points


def plot_orientations(
    degrees: Sequence[float],
    radii: Sequence[float],
    strong: Sequence[bool],
    names: tuple[str, str],
    *,
    limits: Sequence[bool] | None = None,
    absent: str = "",
) -> Tensor:
    """Plot orientations and spatial frequencies as dots over half a circle.

    Args:
        degrees: orientation of the bars of each dot, counter-clockwise from horizontal, 0 to 180.
        radii: spatial frequency of each dot, in cycles a pixel.
        strong: whether each dot is filled; the others are faint.
        names: names of the filled and of the faint dots, for the legend.
        limits: whether each frequency is at a bound, drawn as a square; default: none.
        absent: a line about filters that are not drawn; default: none.

    Returns:
        uint8 `(H, W, 3)`.
    """
    limits = limits or [False] * len(radii)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.7), dpi=_DPI)
    axes = figure.add_axes((0.07, 0.0, 0.86, 1.0), projection="polar")
    axes.set_thetalim(0, math.pi)  # type: ignore[attr-defined]
    axes.set_ylim(0, outer_radius(radii))
    angles = [math.radians(angle) for angle in degrees]
    for filled, name, style in (
        (False, names[1], {"facecolors": "none", "edgecolors": LINE}),
        (True, names[0], {"facecolors": ACCENT, "edgecolors": "white", "linewidths": 0.5}),
    ):
        dots = [index for index, is_strong in enumerate(strong) if is_strong == filled]
        for square in (False, True):
            subset = [index for index in dots if limits[index] == square]
            if square and not subset:
                continue
            axes.scatter(
                [angles[index] for index in subset], [radii[index] for index in subset],
                s=28, marker="s" if square else "o",
                label=f"{len(subset)} at the limit of the pixels" if square
                else f"{len(dots)} {name}",
                **style,
            )  # fmt: skip
    axes.grid(color=LINE, linewidth=0.5)
    axes.tick_params(labelsize=_TEXT)
    centered: dict[str, Any] = {"fontsize": _TEXT, "color": INK, "ha": "center"}
    figure.text(0.5, 0.955, "orientation of the bars", **centered)
    figure.text(0.72, 0.125, "cycles a pixel", **centered)
    if absent:
        figure.text(0.5, 0.075, absent, **centered)
    figure.legend(loc="lower center", ncols=3, fontsize=_TEXT, frameon=False)
    return render_figure(figure)


def outer_radius(radii: Sequence[float]) -> float:
    """Radius of the plot: the largest radius rounded up to a tenth, at least 0.1."""
    return max(1, math.ceil(round(10 * max(radii, default=0.0), 6))) / 10
