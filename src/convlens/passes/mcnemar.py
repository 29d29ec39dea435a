"""McNemar's exact test of two counts from the same photos."""

from typing import Literal


def mcnemar_p_value(
    first_only: int,
    second_only: int,
    alternative: Literal["two-sided", "greater"] = "two-sided",
) -> float:
    """The p-value of two counts by a fair coin.

    McNemar, Note on the sampling error of the difference between correlated proportions or
    percentages, Psychometrika 1947. It assumes that photos are drawn independently.

    Args:
        first_only: number of photos for which something holds in the first of two measurements
            only, such as a right answer.
        second_only: number of photos for which it holds in the second measurement only.
        alternative: "two-sided", or "greater" to test whether it holds more often in the second
            measurement. Default: "two-sided".

    Returns:
        0 to 1; 1 if both counts are 0.

    Example:
        >>> round(mcnemar_p_value(9, 1), 4)
        0.0215
        >>> round(mcnemar_p_value(1, 9, "greater"), 4)
        0.0107
    """
    if first_only + second_only == 0:
        return 1.0
    from scipy.stats import binomtest  # takes a second to import

    test = binomtest(second_only, first_only + second_only, 0.5, alternative=alternative)
    return float(test.pvalue)
