"""Pooling layers: maximum, average, and anti-aliased maximum."""

from torch import nn

from convlens.errors import ConvlensError, suggest

POOLINGS = ("max", "average", "blur")


def make_pooling(kind: str, kernel: int = 2, stride: int = 2) -> nn.Module:
    """Make a pooling layer without parameters; all kinds give maps of the same size.

    Args:
        kind: "max"; "average"; or "blur", max pooling at stride 1 and then subsampling with a
            binomial filter (1 2 1 on each axis), which keeps more of the shift equivariance.
        kernel: side of the window; default 2.
        stride: stride of the window; default 2.

    Returns:
        A module from maps `(N, C, H, W)` to maps `(N, C, h, w)`.

    Raises:
        ConvlensError: another kind.

    References:
        Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019.

    Example:
        >>> import torch
        >>> make_pooling("blur")(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 3, 4, 4])
    """
    if kind == "max":
        return nn.MaxPool2d(kernel, stride)
    if kind == "average":
        return nn.AvgPool2d(kernel, stride)
    if kind == "blur":
        # Two averages of two pixels are the binomial filter. Edge pixels are repeated, since
        # zeros after a ReLU would darken the border.
        return nn.Sequential(
            nn.MaxPool2d(kernel, stride=1),
            nn.ReplicationPad2d(1),
            nn.AvgPool2d(2, stride=1),
            nn.AvgPool2d(2, stride),
        )
    raise ConvlensError(
        f"no pooling {kind!r}{suggest(kind, POOLINGS)}; there are {', '.join(POOLINGS)}"
    )
