"""The fitted filters over half a circle: orientation around it, frequency outwards."""

import math
from dataclasses import dataclass

from convlens.analyses.gabor.noise_test import GABOR, UNTOLD
from convlens.drawing import outer_radius
from convlens.page.schema import Report

RADIUS = 190.0  # pixels of the drawing


@dataclass(frozen=True)
class Dot:
    """One filter."""

    number: int
    x: float
    y: float
    gabor: bool
    limit: bool  # its frequency stands at a bound
    words: str


@dataclass(frozen=True)
class Plane:
    """Half a circle about (0, 0), y downwards.

    Attributes:
        radius: of the outer ring, in pixels.
        rings: for each its radius and its cycles a pixel.
        spokes: for each its outer end and its degrees.
        absent: filters that are not drawn, since their fits have no wave.
        dots: faint ones first, so that Gabor-like ones lie above them.
    """

    radius: float
    rings: list[tuple[float, float]]
    spokes: list[tuple[float, float, int]]
    absent: int
    dots: list[Dot]


def plane_of(made: Report) -> Plane | None:
    """Orientation and frequency of the fits, or None where nothing was fitted."""
    alike = made.gabor_fit
    if alike is None or not len(alike.fitted):
        return None
    frequencies, degrees = alike.frequency.tolist(), alike.orientation.tolist()
    outer = outer_radius([frequencies[number] for number in alike.waves])
    dots = []
    for number in alike.waves:
        verdict = alike.verdicts[number]
        x, y = _at(degrees[number], RADIUS * frequencies[number] / outer)
        words = (
            f"filter {number}: {verdict}, {degrees[number]:.0f}°, "
            f"{alike.value('frequency', number, '.2f')} cycles a pixel"
        )
        limit = "frequency" in alike.at_bound[number]
        dots.append(Dot(number, x, y, verdict == GABOR, limit, words))
    steps = range(1, round(10 * outer) + 1)
    return Plane(
        radius=RADIUS,
        rings=[(RADIUS * step / (10 * outer), step / 10) for step in steps],
        spokes=[(*_at(angle, RADIUS), angle) for angle in range(0, 181, 30)],
        absent=sum(one != UNTOLD for one in alike.verdicts) - len(dots),
        dots=sorted(dots, key=lambda dot: dot.gabor),
    )


def _at(degrees: float, radius: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return radius * math.cos(angle), -radius * math.sin(angle)
