"""Proportions: a share of the images of a data set, with its 95 % interval."""

from dataclasses import dataclass
from math import sqrt

from convlens.results import Result
from convlens.wording import interval

_Z = 1.959964  # 95 % of the normal distribution lie within so many deviations


@dataclass(frozen=True, eq=False)
class Proportion(Result):
    """A share of images, with its 95 % interval (Wilson).

    Attributes:
        count: number of images for which something holds.
        total: number of images.
        share: count / total; NaN if the total is 0.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    count: int
    total: int
    share: float
    low: float
    high: float

    def summary(self) -> str:
        """Count, total and interval, in words."""
        return f"{self.count:,} of {self.total:,} ({interval(self.low, self.high)})"

    @classmethod
    def from_counts(cls, count: int, total: int) -> "Proportion":
        """The share and the interval of `count` images in `total`."""
        share = count / total if total else float("nan")
        return cls(count, total, share, *wilson_interval(count, total))


def wilson_interval(count: int, total: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval for a share that was observed `count` times in `total`.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = count/n (Wilson, Probable Inference,
    the Law of Succession, and Statistical Inference, JASA 1927). Unlike p ± 1.96 standard
    deviations it stays within 0 to 1 and has a width when count is 0 or n. It assumes that the
    images are drawn independently.

    Args:
        count: number of images for which something holds.
        total: number of images, n. For n = 0 the interval is 0 to 1.
        z: half-width in standard deviations of the normal distribution; default: for 95 %.

    Returns:
        The lower and the upper end.

    Example:
        >>> low, high = wilson_interval(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
    """
    if total == 0:
        return 0.0, 1.0
    share, correction = count / total, z * z / total
    middle = (share + correction / 2) / (1 + correction)
    half = z * sqrt(share * (1 - share) / total + correction / (4 * total)) / (1 + correction)
    return max(0.0, middle - half), min(1.0, middle + half)
