"""The accuracy-epsilon curve as lines of an inline drawing, in its own coordinates."""

from dataclasses import dataclass

from convlens.analyses.attacks.robustness import Robustness

WIDTH, HEIGHT = 460.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 10.0, 36.0
_BESIDE = 5.0  # between the intervals of two lines at one epsilon


@dataclass(frozen=True)
class Mark:
    """One measured point: its place, and the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: of it.
        style: name of its class in the stylesheet.
        points: of the line, as in the `points` of a polyline.
        marks: measured points.
    """

    name: str
    style: str
    points: str
    marks: list[Mark]


@dataclass(frozen=True)
class CurveDrawing:
    """Lines, and the axes' ticks as places with their words."""

    width: float
    height: float
    frame: tuple[float, float, float, float]
    lines: list[Line]
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]


def curve_drawing(found: Robustness) -> CurveDrawing:
    """Curves over epsilon, with their intervals beside each other."""
    levels = [fraction * 255 for fraction in found.fractions]
    reach = max(levels)
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def x(level: float) -> float:
        return round(_LEFT + 14 + (right - _LEFT - 28) * level / reach, 1)

    def y(share: float) -> float:
        return round(bottom - (bottom - _TOP) * share, 1)

    lines = []
    for number, one in enumerate(found.curves):
        beside = (number - (len(found.curves) - 1) / 2) * _BESIDE
        marks = [
            Mark(round(x(level) + beside, 1), y(share), y(low), y(high))
            for level, share, low, high in zip(
                levels, one.accuracies, one.low, one.high, strict=True
            )
        ]
        points = " ".join(f"{mark.x},{mark.y}" for mark in marks)
        lines.append(Line(one.name, one.name.split()[0].lower(), points, marks))
    return CurveDrawing(
        width=WIDTH,
        height=HEIGHT,
        frame=(_LEFT, _TOP, right, bottom),
        lines=lines,
        across=[(x(level), f"{level:.3g}") for level in levels],
        up=[(y(share), f"{share:.0%}") for share in (0.0, 0.5, 1.0)],
    )
