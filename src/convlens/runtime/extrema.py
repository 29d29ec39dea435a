"""The least and the greatest value of a tensor, found without a copy of it."""

from torch import Tensor


def extrema(tensor: Tensor) -> tuple[float, float]:
    """The least and the greatest value of a tensor; both are NaN if it holds NaN.

    `torch.aminmax` first copies a channels-last tensor into contiguous memory, which takes longer
    than to read it twice.

    Example:
        >>> import torch
        >>> extrema(torch.tensor([0.5, -1.0, 2.0]))
        (-1.0, 2.0)
    """
    return tensor.amin().item(), tensor.amax().item()
