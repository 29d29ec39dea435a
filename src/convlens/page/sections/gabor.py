"""The part on Gabor functions: those nearest to the filters of the first convolution."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convlens.analyses.gabor.fit import fit_gabor
from convlens.analyses.gabor.result import GaborFit
from convlens.analyses.gabor.verdicts import BLOB, GABOR, UNDECIDED
from convlens.drawing import outer_radius
from convlens.html.pictures import Picture, PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding
from convlens.page.section import Section
from convlens.results import Result
from convlens.results.reproduction import Reproduction
from convlens.wording import counted

NOISE = 1000  # filters of noise that the fits are compared with
RADIUS = 190.0  # CSS pixels of the half circle


@dataclass(frozen=True, eq=False)
class GaborResult(Result):
    """Gabor functions fitted to the filters.

    Attributes:
        fit: the fits and their verdicts.
        r2: for each filter the share of the squared weights that its fit explains.
    """

    fit: GaborFit
    r2: tuple[float, ...]


@dataclass(frozen=True)
class _Triple:
    """A filter, its fit and the difference, as one picture."""

    number: int
    picture: Picture


@dataclass(frozen=True)
class _Dot:
    """One fitted filter in the half circle; `limit`: its frequency is at a bound."""

    number: int
    x: float
    y: float
    gabor: bool
    limit: bool
    description: str


@dataclass(frozen=True)
class _HalfCircle:
    """Orientation around (0, 0), frequency outwards, y downwards.

    Attributes:
        radius: radius of the outer ring, in pixels.
        rings: for each its radius and its cycles per pixel.
        spokes: for each its outer end and its degrees.
        absent: number of filters that are not drawn, since their fits have no wave.
        dots: faint ones first, so that Gabor-like ones lie above them.
    """

    radius: float
    rings: list[tuple[float, float]]
    spokes: list[tuple[float, float, int]]
    absent: int
    dots: list[_Dot]


class GaborSection(Section[GaborResult]):
    """How much the filters are like Gabor functions."""

    name = "gabor"
    title = "Gabor functions"
    parent = "filters"
    budget = Budget(items=256, bytes=1_000_000)

    def compute(self, inputs: Inputs) -> GaborResult | None:
        """The fits, or None where the filters are missing already.

        Raises:
            ConvlensError: the filters cannot be fitted.
        """
        if "filters" in inputs.stages.failures:
            return None
        fit = fit_gabor(inputs.model, null_size=NOISE, seed=inputs.options.seed)
        return GaborResult(fit, tuple(fit.r2.tolist()))

    def findings(self, inputs: Inputs, result: GaborResult) -> Iterator[Finding]:
        """How many filters are more regular than noise."""
        fit = result.fit
        if fit.reason:
            return
        regular = fit.count(GABOR) + fit.count(BLOB)
        total = len(fit.verdicts)
        sentence = (
            f"Of {counted(total, 'filter')} of {fit.filters.layer}, {fit.count(GABOR)} look like "
            f"Gabor functions and {fit.count(BLOB)} like blobs or gradients, compared with fits to "
            f"{counted(len(fit.null_r2), 'filter')} of equally smooth noise"
        )
        if 2 * regular > total:
            yield Finding("fine", f"{sentence}.", "filters", rank=8)
            return
        few = f"Only {regular} of them" if regular else "None of them"
        verb = "are" if regular > 1 else "is"
        yield Finding(
            "look",
            f"{sentence}. {few} {verb} more regular than that noise.",
            "filters",
            rank=8,
        )

    def reproduction(self, inputs: Inputs, result: GaborResult) -> Reproduction:
        """The fits, with the same noise."""
        return inputs.reproducer.reproduction(
            "gabor",
            ["filters", "--fit", "--null-size", f"{NOISE}"],
            f"convlens.fit_gabor(model, null_size={NOISE}, seed={inputs.options.seed})",
        )

    def view(self, inputs: Inputs, result: GaborResult, pictures: PictureBudget) -> dict[str, Any]:
        """Filter, fit and difference, the best fits first, and the half circle."""
        triples = []
        for number, pixels in result.fit.triples()[: self.budget.items]:
            picture = pictures.pixelated(pixels)
            if picture is not None:
                triples.append(_Triple(number, picture))
        return {"triples": triples, "half_circle": _half_circle(result.fit)}


def _half_circle(fit: GaborFit) -> _HalfCircle | None:
    """Orientation and frequency of the fits, or None where nothing was fitted."""
    if not len(fit.fitted):
        return None
    frequencies, degrees = fit.frequency.tolist(), fit.orientation.tolist()
    outer = outer_radius([frequencies[number] for number in fit.waves])
    dots = []
    for number in fit.waves:
        verdict = fit.verdicts[number]
        x, y = _position(degrees[number], RADIUS * frequencies[number] / outer)
        description = (
            f"filter {number}: {verdict}, {degrees[number]:.0f}°, "
            f"{fit.format_value('frequency', number, '.2f')} cycles per pixel"
        )
        limit = "frequency" in fit.at_bound[number]
        dots.append(_Dot(number, x, y, verdict == GABOR, limit, description))
    steps = range(1, round(10 * outer) + 1)
    return _HalfCircle(
        radius=RADIUS,
        rings=[(RADIUS * step / (10 * outer), step / 10) for step in steps],
        spokes=[(*_position(angle, RADIUS), angle) for angle in range(0, 181, 30)],
        absent=sum(verdict != UNDECIDED for verdict in fit.verdicts) - len(dots),
        dots=sorted(dots, key=lambda dot: dot.gabor),
    )


def _position(degrees: float, radius: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return radius * math.cos(angle), -radius * math.sin(angle)


SECTION = GaborSection()
