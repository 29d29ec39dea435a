"""Copies of networks in double precision, by which rounding errors are measured."""

from torch import nn

from convlens.runtime.clone import clone_network
from convlens.runtime.memory_format import copy_memory_formats


def clone_in_double_precision(network: nn.Module) -> nn.Module:
    """A copy of a network whose weights, and so all operations, are in float64.

    The memory format of its images is that of the network, and is not searched for again.

    Args:
        network: left untouched.

    Raises:
        ConvlensError: the network cannot be copied.

    Example:
        >>> clone_in_double_precision(nn.Linear(2, 1)).weight.dtype
        torch.float64
    """
    clone = clone_network(network).double()
    copy_memory_formats(network, clone)
    return clone
