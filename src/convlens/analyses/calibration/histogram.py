"""A histogram of confidences from which bins of equal width and of equal count follow.

A pass over a data set keeps, for each of a few thousand fine bins, how many photos have such a
confidence, how many of these are right, and the sum of their confidences. Bins of equal width are
exact sums of fine bins. Bins of equal count are cut between fine bins, each of which is a
sixty-fourth of a unit of the log-odds wide.
"""

import torch
from torch import Tensor

from convlens.passes.reducer import State

_STEPS, _LARGEST = 64, 24  # fine bins for a unit of the log-odds; the largest log-odds
_FIXED_POINT = 2**32  # confidences are summed as integers, so that the order does not matter


def fine_edges(bins: int) -> Tensor:
    """The upper edges of all fine bins but the last, ascending, float64.

    The edges of `bins` bins of equal width are among them. A bin holds its upper edge.

    Args:
        bins: number of bins of equal width.
    """
    log_odds = torch.arange(-_LARGEST * _STEPS, _LARGEST * _STEPS + 1, dtype=torch.float64) / _STEPS
    equal = torch.arange(1, bins, dtype=torch.float64) / bins
    return torch.cat([log_odds.sigmoid(), equal]).unique()


def empty_histogram(bins: int) -> State:
    """The histogram of no photos: `counts`, `correct` and `sums`, int64 `(F,)` each."""
    size = len(fine_edges(bins)) + 1
    return {name: torch.zeros(size, dtype=torch.int64) for name in ("counts", "correct", "sums")}


def add_confidences(histogram: State, bins: int, confidences: Tensor, correct: Tensor) -> None:
    """Add predictions to a histogram, in place.

    Args:
        histogram: from `empty_histogram`, for the same `bins`.
        bins: number of bins of equal width.
        confidences: float64 `(N,)`, the probability of each prediction.
        correct: bool `(N,)`, whether each prediction is right.
    """
    rows = torch.bucketize(confidences, fine_edges(bins))
    histogram["counts"].index_add_(0, rows, torch.ones_like(rows))
    histogram["correct"].index_add_(0, rows, correct.long())
    histogram["sums"].index_add_(0, rows, (confidences * _FIXED_POINT).round().long())


def sums_of_confidences(histogram: State) -> Tensor:
    """The sum of the confidences in each fine bin, float64 `(F,)`."""
    return histogram["sums"].double() / _FIXED_POINT


def equal_width(histogram: State, bins: int) -> Tensor:
    """The bin of equal width that holds each fine bin, int64 `(F,)`, 0 to `bins` - 1."""
    upper = torch.cat([fine_edges(bins), torch.ones(1, dtype=torch.float64)])
    return torch.bucketize(upper, torch.arange(1, bins, dtype=torch.float64) / bins)


def equal_count(histogram: State, bins: int) -> Tensor:
    """The bin of equal count that holds each fine bin, int64 `(F,)`, 0 to `bins` - 1.

    A fine bin belongs to the bin in which the middle one of its photos lies, when all photos are
    ordered by confidence and divided evenly. Photos of one fine bin stay together.
    """
    counts = histogram["counts"]
    total = max(1, int(counts.sum()))
    before = counts.cumsum(0) - counts
    return ((2 * before + counts) * bins // (2 * total)).clamp(max=bins - 1)
