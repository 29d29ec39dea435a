"""Geometry of inline SVG charts, in the coordinates of the drawing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convlens.drawing import ReliabilityBins

WIDTH, HEIGHT = 460.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 12.0, 10.0, 36.0
_MARGIN = 14.0  # between the frame and the first and last point
_BESIDE = 5.0  # between the intervals of two series at one x
_MOST_TICKS = 11  # of the horizontal axis
_SHARES = ((0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %"))


@dataclass(frozen=True)
class Series:
    """Values of one line with the ends of their intervals."""

    name: str
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Point:
    """One measured point: its position, and the y of both ends of its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One drawn series: its name, the `points` of its polyline, and its measured points."""

    name: str
    points: str
    marks: list[Point]


@dataclass(frozen=True)
class LineChart:
    """A chart of values over x.

    Attributes:
        width: width of the drawing.
        height: height of the drawing.
        frame: left, top, right and bottom of the area inside the axes.
        lines: one for each series.
        across: x and text of each tick of the horizontal axis.
        up: y and text of each tick of the vertical axis.
    """

    width: float
    height: float
    frame: tuple[float, float, float, float]
    lines: list[Line]
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]


def line_chart(
    across: Sequence[float],
    series: Sequence[Series],
    *,
    highest: float = 1.0,
    ticks: Sequence[tuple[float, str]] = _SHARES,
    marked: bool = True,
) -> LineChart:
    """A chart of several series over the same x, with their intervals beside each other.

    Args:
        across: x of each value, from 0 on.
        series: the lines.
        highest: value at the top of the chart; default: 1, for shares.
        ticks: values and texts of the vertical axis; default: 0, 50 and 100 %.
        marked: mark each value and its interval; default: mark them.
    """
    reach = max(across)
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def x_of(value: float) -> float:
        return round(_LEFT + _MARGIN + (right - _LEFT - 2 * _MARGIN) * value / reach, 1)

    def y_of(value: float) -> float:
        return round(bottom - (bottom - _TOP) * value / highest, 1)

    lines = []
    for number, line in enumerate(series):
        beside = (number - (len(series) - 1) / 2) * _BESIDE if marked else 0.0
        marks = [
            Point(round(x_of(value) + beside, 1), y_of(share), y_of(low), y_of(high))
            for value, share, low, high in zip(
                across, line.values, line.low, line.high, strict=True
            )
        ]
        points = " ".join(f"{mark.x},{mark.y}" for mark in marks)
        lines.append(Line(line.name, points, marks if marked else []))
    return LineChart(
        width=WIDTH,
        height=HEIGHT,
        frame=(_LEFT, _TOP, right, bottom),
        lines=lines,
        across=[(x_of(value), f"{value:.3g}") for value in _tick_values(across)],
        up=[(y_of(value), text) for value, text in ticks],
    )


def reliability_chart(bins: ReliabilityBins) -> LineChart:
    """The accuracy of each bin of predictions beside its mean confidence, in percent.

    Args:
        bins: the bins that hold photos.
    """
    return line_chart(
        [100 * confidence for confidence in bins.confidence],
        [
            Series("accuracy", bins.accuracy, bins.low, bins.high),
            Series("confidence", bins.confidence, bins.confidence, bins.confidence),
        ],
    )


def _tick_values(across: Sequence[float]) -> list[float]:
    """Evenly spaced ones of the values, the last among them."""
    step = math.ceil(len(across) / _MOST_TICKS)
    return list(across[::-1][::step][::-1])


def polyline(x: Iterable[float], y: Iterable[float], width: float, height: float) -> str:
    """The `points` of a polyline through shares of 0 to 1, y upwards.

    Example:
        >>> polyline([0, 0.5, 1], [0, 1, 0.5], width=100, height=40)
        '0.0,40.0 50.0,0.0 100.0,20.0'
    """
    return " ".join(
        f"{across * width:.1f},{(1 - up) * height:.1f}" for across, up in zip(x, y, strict=True)
    )
