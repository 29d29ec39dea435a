"""The difference of two shares that were measured on the same photos.

Two networks answer the same photos, so their right answers are paired: only photos that one of them
gets right and the other wrong tell them apart.
"""

from dataclasses import dataclass
from math import sqrt

from convlens.passes.mcnemar import mcnemar_p_value
from convlens.passes.proportion import Proportion
from convlens.results import Result, Table
from convlens.wording import counted


@dataclass(frozen=True, eq=False)
class PairedDifference(Result):
    """How many photos two networks get right, together and each alone.

    Attributes:
        both: number of photos that both get right.
        lost: number of photos that only the first network gets right.
        gained: number of photos that only the second network gets right.
        neither: number of photos that neither gets right.
        first: the share that the first network gets right.
        second: the share that the second network gets right.
        difference: the second share minus the first, (gained - lost) / photos; NaN without photos.
        difference_low: lower end of its 95 % interval (Newcombe).
        difference_high: upper end of its 95 % interval.
        p_value: of McNemar's exact test, two-sided: how probable at least such a difference between
            `lost` and `gained` is if both networks are equally good.
    """

    both: int
    lost: int
    gained: int
    neither: int
    first: Proportion
    second: Proportion
    difference: float
    difference_low: float
    difference_high: float
    p_value: float

    @classmethod
    def from_counts(cls, both: int, lost: int, gained: int, neither: int) -> "PairedDifference":
        """The difference, its interval and the test from the four counts."""
        total = both + lost + gained + neither
        low, high = newcombe_interval(both, lost, gained, neither)
        return cls(
            both=both,
            lost=lost,
            gained=gained,
            neither=neither,
            first=Proportion.from_counts(both + lost, total),
            second=Proportion.from_counts(both + gained, total),
            difference=(gained - lost) / total if total else float("nan"),
            difference_low=low,
            difference_high=high,
            p_value=mcnemar_p_value(lost, gained),
        )

    def summary(self) -> str:
        """The answers lost and gained, the difference and the test, in words."""
        if not self.lost and not self.gained:
            return f"no right answer lost or gained on {counted(self.first.total, 'labeled photo')}"
        points = [100 * end for end in (self.difference, self.difference_low, self.difference_high)]
        return (
            f"{counted(self.lost, 'right answer')} lost and {self.gained:,} gained on "
            f"{counted(self.first.total, 'labeled photo')}: accuracy {points[0]:+.1f} points "
            f"({points[1]:+.1f} to {points[2]:+.1f}), p = {self.p_value:.2g} (McNemar)"
        ).replace("-", "\N{MINUS SIGN}")

    def table(self) -> Table:
        """The photos by which of the networks gets them right."""
        return Table.of(
            ["right", "photos"],
            [
                ["both", f"{self.both:,}"],
                ["only the first (lost)", f"{self.lost:,}"],
                ["only the second (gained)", f"{self.gained:,}"],
                ["neither", f"{self.neither:,}"],
            ],
        )


def newcombe_interval(both: int, lost: int, gained: int, neither: int) -> tuple[float, float]:
    """The 95 % interval of the second share minus the first.

    Method 10 of Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 1998: the distances of both shares from
    the ends of their Wilson intervals are combined with the correlation of the pairs.

    Args:
        both: number of photos that both networks get right.
        lost: number of photos that only the first network gets right.
        gained: number of photos that only the second network gets right.
        neither: number of photos that neither gets right.

    Returns:
        The lower and the upper end; -1 to 1 without photos.

    Example:
        >>> low, high = newcombe_interval(both=80, lost=2, gained=12, neither=6)
        >>> round(low, 3), round(high, 3)
        (0.026, 0.18)
    """
    total = both + lost + gained + neither
    if total == 0:
        return -1.0, 1.0
    first = Proportion.from_counts(both + lost, total)
    second = Proportion.from_counts(both + gained, total)
    correlation = _correlation(both, lost, gained, neither)
    difference = second.share - first.share
    below, above = second.share - second.low, first.high - first.share
    low = difference - sqrt(max(0.0, below**2 - 2 * correlation * below * above + above**2))
    below, above = first.share - first.low, second.high - second.share
    high = difference + sqrt(max(0.0, below**2 - 2 * correlation * below * above + above**2))
    return max(-1.0, low), min(1.0, high)


def _correlation(both: int, lost: int, gained: int, neither: int) -> float:
    """The correlation of the pairs, with Newcombe's continuity correction."""
    product = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    if product == 0:
        return 0.0
    numerator = float(both * neither - lost * gained)
    if numerator > 0:
        numerator = max(0.0, numerator - (both + lost + gained + neither) / 2)
    return numerator / sqrt(product)
