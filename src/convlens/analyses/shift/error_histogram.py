"""A histogram of equivariance errors in fixed bins, and the medians that follow from it.

The bins are 4 % wide, so a median is accurate to 4 %. Counts add up in any order.
"""

import torch
from torch import Tensor

_FIRST_OCTAVE, _LAST_OCTAVE = -30, 6  # of the errors that are told apart, as powers of 2
_BINS_PER_OCTAVE = 16
BIN_EDGES = 2.0 ** (
    torch.arange(
        _FIRST_OCTAVE * _BINS_PER_OCTAVE,
        _LAST_OCTAVE * _BINS_PER_OCTAVE + 1,
        dtype=torch.float64,
        device="cpu",
    )
    / _BINS_PER_OCTAVE
)
BIN_COUNT = len(BIN_EDGES) + 1


def add_errors(counts: Tensor, errors: Tensor) -> None:
    """Count errors in their bins, in place; NaN is not counted.

    Args:
        counts: int64 `(..., BIN_COUNT)`.
        errors: `(...)`.
    """
    bins = torch.bucketize(errors.double(), BIN_EDGES).clamp(max=BIN_COUNT - 1)
    counted = (~errors.isnan()).long()
    counts.scatter_add_(-1, bins[..., None], counted[..., None])


def median_errors(counts: Tensor) -> Tensor:
    """The median error, float64 `(...)`, of counts `(..., BIN_COUNT)`; NaN where all are 0."""
    total = counts.sum(dim=-1)
    bins = torch.searchsorted(counts.cumsum(dim=-1), ((total + 1) // 2)[..., None])[..., 0]
    centers = (BIN_EDGES[:-1] * BIN_EDGES[1:]).sqrt()
    values = torch.cat([torch.zeros(1).double(), centers, BIN_EDGES[-1:]])
    return torch.where(total > 0, values[bins.clamp(max=BIN_COUNT - 1)], torch.nan)
