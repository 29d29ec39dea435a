"""McNemar's exact test, against the enumeration of a fair coin's outcomes."""

from math import comb

import pytest

from convlens.passes.mcnemar import mcnemar_p_value


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (9, 1), (3, 3), (12, 30), (5, 0)])
def test_mcnemar_sums_the_outcomes_of_a_fair_coin_that_are_not_more_probable(lost, gained):
    total = lost + gained
    outcomes = [comb(total, heads) / 2**total for heads in range(total + 1)]
    expected = sum(outcome for outcome in outcomes if outcome <= outcomes[lost] * (1 + 1e-9))
    assert mcnemar_p_value(lost, gained) == pytest.approx(expected)


@pytest.mark.parametrize(("lost", "gained"), [(0, 1), (1, 9), (9, 1), (3, 3), (0, 5)])
def test_the_one_sided_test_sums_the_outcomes_with_at_least_as_many_gains(lost, gained):
    total = lost + gained
    expected = sum(comb(total, heads) for heads in range(gained, total + 1)) / 2**total
    assert mcnemar_p_value(lost, gained, "greater") == pytest.approx(expected)
