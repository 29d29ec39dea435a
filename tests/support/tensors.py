"""Comparisons of named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor


def same_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two mappings have the same names and, in every bit, the same tensors."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
