"""The drawing of a network as a matplotlib figure, for notebooks and papers."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle, Patch, Polygon, Rectangle

from convlens.analyses.anatomy.network_drawing import Box, Kind, NetworkDrawing
from convlens.drawing import new_figure
from convlens.drawing.palette import ACCENT, FILL, INK, MUTED
from convlens.drawing.result_figure import ResultFigure
from convlens.text import plot_text

_COLORS: dict[Kind, str] = {
    "image": "#d9d9d3",
    "convolution": "#8fb3d9",
    "pooling": "#e0876a",
    "dense": "#9cc49a",
    "merge": FILL,
    "other": "#cfc3e0",
}
_NAMES: dict[Kind, str] = {
    "convolution": "convolution",
    "pooling": "pooling",
    "dense": "fully connected",
    "other": "other",
}
_POINTS = 72.0  # in an inch
_TITLE = 26.0  # points above the drawing for the title and the legend


def plot_network(drawing: NetworkDrawing, title: str) -> ResultFigure:
    """Draw a network: boxes scaled by resolution and channels, branches as branches.

    Args:
        drawing: the geometry.
        title: the line above the drawing.

    Returns:
        A figure in which a unit of the drawing is a point.
    """
    height = drawing.height + _TITLE
    figure = new_figure(figsize=(drawing.width / _POINTS, height / _POINTS), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(drawing.height, -_TITLE)
    axes.set_axis_off()
    for connection in drawing.connections:
        across, down = zip(*connection.points, strict=True)
        axes.plot(across, down, color=ACCENT if connection.skips else MUTED, lw=0.7, zorder=0)
    for box in drawing.boxes:
        _add_box(axes, box)
    for x, y, text in drawing.labels:
        axes.text(x, y, plot_text(text), ha="center", va="top", fontsize=7, color=INK)
    axes.text(4, -_TITLE + 4, plot_text(title), ha="left", va="top", fontsize=9, color=INK)
    kinds = dict.fromkeys(box.kind for box in drawing.boxes)
    handles = [
        Patch(facecolor=_COLORS[kind], edgecolor=INK, linewidth=0.5, label=_NAMES[kind])
        for kind in kinds
        if kind in _NAMES
    ]
    figure.legend(handles=handles, loc="upper right", ncols=4, fontsize=7, frameon=False)
    return figure


def _add_box(axes: Axes, box: Box) -> None:
    style: dict[str, Any] = {"facecolor": _COLORS[box.kind], "edgecolor": INK, "linewidth": 0.5}
    if box.kind == "merge":
        center = ((box.x + box.right) / 2, box.y)
        axes.add_patch(Circle(center, box.width / 2, **style))
        axes.text(*center, "+", ha="center", va="center", fontsize=6, color=INK)
        return
    back = box.slant
    if back:
        top = [(box.x, box.top), (box.x + back, box.top - back)]
        top += [(box.right + back, box.top - back), (box.right, box.top)]
        side = [(box.right, box.top), (box.right + back, box.top - back)]
        side += [(box.right + back, box.bottom - back), (box.right, box.bottom)]
        axes.add_patch(Polygon(top, **style))
        axes.add_patch(Polygon(side, **style))
    axes.add_patch(Rectangle((box.x, box.top), box.width, box.height, **style))
