"""Bar charts: names on the left, a horizontal bar and its number for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convlens.drawing.figures import new_figure, without_middle
from convlens.drawing.palette import ACCENT, INK
from convlens.text import plot_text, printable

if TYPE_CHECKING:
    from convlens.drawing.result_figure import ResultFigure

_BAR = 0.19  # inches for each bar
_WIDTHS = {1: 5.6, 2: 7.0}  # inches of a figure with so many columns
_COLUMNS = 2
_TEXT = 7.0  # points
_LONGEST = 48  # characters of a name
_OTHER = "#c9b49c"


@dataclass(frozen=True)
class Bars:
    """One panel of bars.

    Attributes:
        title: text above it.
        names: name of each bar, the upper one first.
        values: length of each bar.
        labels: text at the end of each bar.
    """

    title: str
    names: Sequence[str]
    values: Sequence[float]
    labels: Sequence[str]


def bar_figure(
    panels: Sequence[Bars], *, title: str = "", limits: tuple[float, float] | None = None
) -> "ResultFigure":
    """Draw panels of horizontal bars, two side by side; the first bar of each is highlighted.

    Args:
        panels: the panels.
        title: text above all; default: none.
        limits: ends of the axis of values; default: those of the values and 0.

    Example:
        >>> figure = bar_figure([Bars("image 0", ["cat", "dog"], [0.8, 0.2], ["80 %", "20 %"])])
        >>> len(figure.axes)
        1
    """
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    most = max(len(panel.names) for panel in panels)
    height = rows * (_BAR * most + 0.35) + 0.3 * bool(title)
    figure = new_figure(figsize=(_WIDTHS[columns], height))
    all_axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(all_axes, panels, strict=False):
        places = range(len(panel.names))
        colors = [ACCENT, *[_OTHER] * (len(panel.names) - 1)]
        bars = axes.barh(places, panel.values, color=colors, height=0.7)
        axes.bar_label(bars, list(map(plot_text, panel.labels)), padding=2, fontsize=_TEXT)
        names = [plot_text(without_middle(printable(name), _LONGEST)) for name in panel.names]
        axes.set_yticks(places, names, fontsize=_TEXT)
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.margins(x=0.2)
        if limits is not None:
            axes.set_xlim(*limits)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
        axes.tick_params(left=False)
        axes.set_title(plot_text(panel.title), fontsize=_TEXT + 1, loc="left", color=INK)
    if title:
        figure.suptitle(plot_text(title), fontsize=9, x=0.01, ha="left", color=INK)
    return figure
