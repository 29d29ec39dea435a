"""Plots with axes, drawn by matplotlib."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from convlens.drawing.captions import render_figure

_DPI = 100
_TEXT = 8.0  # points
_INK = "#1d1d1b"
_FAINT = "#b9b9b2"
_ACCENT = "#8d4700"


def plot_orientations(
    degrees: Sequence[float],
    radii: Sequence[float],
    strong: Sequence[bool],
    names: tuple[str, str],
    *,
    limits: Sequence[bool] | None = None,
    absent: str = "",
) -> Tensor:
    """Dots over half a circle: orientation as one looks at the picture, cycles a pixel outwards.

    Args:
        degrees: of each dot, counter-clockwise from horizontal, 0 to 180.
        radii: of each dot, cycles a pixel.
        strong: dots that are filled; the others are faint.
        names: what the filled ones and the faint ones are.
        limits: dots whose radius stands at a bound, drawn as squares; default: none.
        absent: a line about what is not drawn.
    """
    limits = limits or [False] * len(radii)
    figure = Figure(figsize=(6, 3.7), dpi=_DPI)
    axes = figure.add_axes((0.07, 0.0, 0.86, 1.0), projection="polar")
    axes.set_thetalim(0, math.pi)  # type: ignore[attr-defined]
    axes.set_ylim(0, outer_radius(radii))
    angles = [math.radians(one) for one in degrees]
    for wanted, name, look in (
        (False, names[1], {"facecolors": "none", "edgecolors": _FAINT}),
        (True, names[0], {"facecolors": _ACCENT, "edgecolors": "white", "linewidths": 0.5}),
    ):
        chosen = [at for at, one in enumerate(strong) if one == wanted]
        for square in (False, True):
            some = [at for at in chosen if limits[at] == square]
            if square and not some:
                continue
            axes.scatter(
                [angles[at] for at in some], [radii[at] for at in some],
                s=28, marker="s" if square else "o",
                label=f"{len(some)} at the limit of the pixels" if square
                else f"{len(chosen)} {name}",
                **look,
            )  # fmt: skip
    axes.grid(color=_FAINT, linewidth=0.5)
    axes.tick_params(labelsize=_TEXT)
    centered: dict[str, Any] = {"fontsize": _TEXT, "color": _INK, "ha": "center"}
    figure.text(0.5, 0.955, "orientation of the bars", **centered)
    figure.text(0.72, 0.125, "cycles a pixel", **centered)
    if absent:
        figure.text(0.5, 0.075, absent, **centered)
    figure.legend(loc="lower center", ncols=3, fontsize=_TEXT, frameon=False)
    return render_figure(figure)


def outer_radius(radii: Sequence[float]) -> float:
    """The least tenth that all radii reach, at least 0.1."""
    return max(1, math.ceil(round(10 * max(radii, default=0.0), 6))) / 10
