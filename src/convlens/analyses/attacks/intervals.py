"""Intervals: how well a share of images is known from so many of them."""

from math import sqrt

Z = 1.959964  # of the normal distribution: 95 % lie within


def wilson(count: int, total: int, z: float = Z) -> tuple[float, float]:
    """Where a share lies that showed itself `count` times in `total`: Wilson's score interval.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = count/n (Wilson, JASA 1927). Unlike
    the usual ± 1.96 deviations it stays within 0 to 1 and has a width at 0 and at n of n. It takes
    the images for drawn independently.

    Args:
        count: how often.
        total: of how many, n; with none the interval is 0 to 1.
        z: deviations; default: for 95 %.
    """
    if total == 0:
        return 0.0, 1.0
    share, extra = count / total, z * z / total
    middle = (share + extra / 2) / (1 + extra)
    half = z * sqrt(share * (1 - share) / total + extra / (4 * total)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)
