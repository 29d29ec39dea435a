"""Reliability diagrams: accuracy against confidence, with intervals and numbers of photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convlens.drawing.figures import new_figure
from convlens.drawing.palette import ACCENT, INK, LINE
from convlens.text import plot_text

if TYPE_CHECKING:
    from convlens.drawing.result_figure import ResultFigure

_WIDTH, _PANEL, _COUNTS = 7.0, 2.9, 0.7  # inches: of the figure, heights of the parts of a panel
_TEXT = 7.0  # points


@dataclass(frozen=True)
class ReliabilityBins:
    """The bins of one diagram that hold photos.

    Attributes:
        title: text above it.
        confidence: mean confidence in each bin, 0 to 1, ascending.
        accuracy: share of right predictions in each bin.
        low: lower end of the interval of each accuracy.
        high: upper end of the interval.
        counts: number of photos in each bin.
    """

    title: str
    confidence: Sequence[float]
    accuracy: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    counts: Sequence[int]


def reliability_figure(diagrams: Sequence[ReliabilityBins], *, title: str = "") -> "ResultFigure":
    """Draw reliability diagrams side by side, with the number of photos of each bin below.

    Args:
        diagrams: the diagrams.
        title: text above all; default: none.

    Example:
        >>> bins = ReliabilityBins("few", [0.6, 0.9], [0.5, 0.8], [0.3, 0.7], [0.7, 0.9], [9, 40])
        >>> len(reliability_figure([bins]).axes)
        2
    """
    figure = new_figure(figsize=(_WIDTH, _PANEL + _COUNTS + 0.3 * bool(title)))
    axes = figure.subplots(
        2, len(diagrams), squeeze=False, sharex=True, sharey="row",
        height_ratios=[_PANEL, _COUNTS],
    )  # fmt: skip
    for column, diagram in enumerate(diagrams):
        upper, lower = axes[:, column]
        upper.plot([0, 1], [0, 1], color=LINE, linewidth=0.8)
        for confidence, low, high, accuracy in zip(
            diagram.confidence, diagram.low, diagram.high, diagram.accuracy, strict=True
        ):
            upper.plot([confidence] * 2, [confidence, accuracy], color=ACCENT, alpha=0.25, lw=5)
            upper.plot([confidence] * 2, [low, high], color=ACCENT, linewidth=0.8)
        upper.plot(diagram.confidence, diagram.accuracy, "o", color=ACCENT, markersize=3)
        upper.set_title(plot_text(diagram.title), fontsize=_TEXT + 1, loc="left", color=INK)
        upper.set(xlim=(0, 1), ylim=(0, 1))
        lower.vlines(diagram.confidence, 0, diagram.counts, color=ACCENT, linewidth=3)
        lower.set_xlabel("confidence", fontsize=_TEXT)
        lower.set_ylim(bottom=0)
        if column == 0:
            upper.set_ylabel("accuracy", fontsize=_TEXT)
            lower.set_ylabel("photos", fontsize=_TEXT)
        for each in (upper, lower):
            each.spines[["top", "right"]].set_visible(False)
            each.tick_params(labelsize=_TEXT, length=2, width=0.5)
    if title:
        figure.suptitle(plot_text(title), fontsize=9, x=0.01, ha="left", color=INK)
    return figure
