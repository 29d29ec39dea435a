"""What the chapter's networks share: convolutions, a pooling to a fixed grid, a classifier."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from convlens.arithmetic import output_size
from convlens.errors import ConvlensError

Size = tuple[int, int]

_WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_LARGEST_LEAST = 4096  # pixels; no network here needs images beyond


class ConvNet(nn.Module):
    """Feature maps, which are pooled to a grid if need be, flattened and classified.

    Attributes:
        features: convolutions, non-linearities and poolings: `(N, C, H, W)` to `(N, D, h, w)`.
        avgpool: average pooling to the grid that the classifier takes, or the identity.
        classifier: from `(N, D h w)` to the logits `(N, classes)`.
    """

    def __init__(
        self, features: nn.Sequential, avgpool: nn.Module, classifier: nn.Sequential
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = avgpool
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(N, classes)` of images `(N, C, H, W)`."""
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        return self.classifier(x)


def feature_map_sizes(stack: nn.Sequential, size: Size) -> list[tuple[str, Size]]:
    """Height and width of the maps after each layer of a plain stack, by the chapter's formula.

    Args:
        stack: convolutions and poolings one after another, nested or not; layers of other kinds
            leave the size as it is.
        size: height and width of the image in pixels.

    Returns:
        The name of each convolution and pooling in the stack, and the size of its output.

    Raises:
        ConvlensError: a layer whose filter is larger than what it is given; its name, that size,
            and the least image for which all fit.
    """
    try:
        return _through(stack, size)
    except _TooSmallError as error:
        least = _least(lambda side: _through(stack, (side, side)))
        height, width = size
        raise ConvlensError(
            f"an image of {height} x {width} pixels is too small: {error}; "
            f"give at least {least} x {least}"
        ) from None


def flattened_size(stack: nn.Sequential, channels: int, size: Size) -> int:
    """How many values the stack's last maps hold, for the fully connected layer after them."""
    *_, (_, last) = feature_map_sizes(stack, size)
    return channels * prod(last)


class _TooSmallError(Exception):
    """A filter does not fit into its input."""


def _through(stack: nn.Sequential, size: Size) -> list[tuple[str, Size]]:
    sizes = []
    border = (0, 0)  # of padding layers, which act with the pooling that follows
    for name, layer in stack.named_modules():
        if isinstance(layer, nn.ReplicationPad2d):
            left, _, top, _ = layer.padding
            border = (top, left)
        if not isinstance(layer, _WINDOWS):
            continue
        given, size = size, _after(name, layer, size, border)
        border = (0, 0)
        if size != given or isinstance(layer, nn.Conv2d):
            sizes.append((name, size))
    return sizes


def _after(name: str, layer: nn.Module, size: Size, border: Size) -> Size:
    kernel, stride, padding, dilation = (
        _pair(getattr(layer, word, 1)) for word in ("kernel_size", "stride", "padding", "dilation")
    )
    try:
        height, width = (
            output_size(
                size[axis] + 2 * border[axis],
                kernel[axis],
                stride[axis],
                padding[axis],
                dilation[axis],
            )
            for axis in (0, 1)
        )
    except ConvlensError:
        what = "convolution" if isinstance(layer, nn.Conv2d) else "pooling"
        raise _TooSmallError(
            f"layer features.{name} ({kernel[0]} x {kernel[1]} {what}) is given "
            f"{size[0]} x {size[1]} and would give less than one pixel"
        ) from None
    return height, width


def _least(attempt: Callable[[int], object]) -> int:
    for side in range(1, _LARGEST_LEAST):
        try:
            attempt(side)
        except _TooSmallError:
            continue
        return side
    raise ConvlensError(f"no image of up to {_LARGEST_LEAST} pixels fits this stack")


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
