"""The interval of the paired difference, against enumeration."""

from itertools import product
from math import factorial

import pytest

from convlens.analyses.comparison.answers.paired_difference import (
    PairedDifference,
    newcombe_interval,
)


def test_the_difference_and_its_interval():
    paired = PairedDifference.from_counts(both=70, lost=12, gained=4, neither=14)
    assert (paired.first.count, paired.second.count, paired.first.total) == (82, 74, 100)
    assert paired.difference == pytest.approx(-0.08)
    assert -0.2 < paired.difference_low < -0.08 < paired.difference_high < 0.01
    swapped = newcombe_interval(both=70, lost=4, gained=12, neither=14)
    assert swapped == pytest.approx((-paired.difference_high, -paired.difference_low))
    assert "12 right answers lost and 4 gained on 100 labeled photos" in paired.summary()


def test_extreme_counts_have_an_interval():
    assert newcombe_interval(0, 0, 0, 0) == (-1.0, 1.0)
    for counts in product((0, 7), repeat=4):
        low, high = newcombe_interval(*counts)
        difference = (counts[2] - counts[1]) / max(1, sum(counts))
        assert -1 <= low <= difference <= high <= 1


@pytest.mark.parametrize(
    "cells", [(0.7, 0.1, 0.1, 0.1), (0.5, 0.05, 0.15, 0.3), (0.2, 0.3, 0.1, 0.4)]
)
def test_the_interval_covers_the_true_difference(cells):
    total, covered = 20, 0.0
    true_difference = cells[2] - cells[1]
    for both, lost, gained in product(range(total + 1), repeat=3):
        neither = total - both - lost - gained
        if neither < 0:
            continue
        counts = (both, lost, gained, neither)
        ways = factorial(total)
        probability = 1.0
        for count, cell in zip(counts, cells, strict=True):
            ways //= factorial(count)
            probability *= cell**count
        low, high = newcombe_interval(*counts)
        covered += ways * probability * (low <= true_difference <= high)
    assert 0.93 < covered < 0.99
