"""ConvNet, the common structure of the chapter's networks, and the sizes of its feature maps."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from convlens.arithmetic import output_size
from convlens.errors import ConvlensError

Size = tuple[int, int]

_WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_LARGEST_SIZE = 4096  # pixels; every network here fits images of this size


class ConvNet(nn.Module):
    """Feature maps, pooled to a grid if necessary, flattened and classified.

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
    """Height and width of the maps after each layer of a stack, by `output_size`.

    Args:
        stack: convolutions and poolings one after another, nested or not; layers of other kinds do
            not change the size.
        size: height and width of the image in pixels.

    Returns:
        Name of each convolution and pooling in the stack, and the size of its output.

    Raises:
        ConvlensError: a filter that is larger than its input; the message names the layer and the
            smallest image that fits.

    Example:
        >>> from torch import nn
        >>> feature_map_sizes(nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2)), (28, 28))
        [('0', (24, 24)), ('1', (12, 12))]
    """
    try:
        return _map_sizes(stack, size)
    except _TooSmallError as error:
        smallest = _smallest_size(lambda side: _map_sizes(stack, (side, side)))
        height, width = size
        raise ConvlensError(
            f"an image of {height} x {width} pixels is too small: {error}; "
            f"give images of at least {smallest} x {smallest}, or choose another network"
        ) from None


def flattened_size(stack: nn.Sequential, channels: int, size: Size) -> int:
    """Number of values of a stack's last maps, for the fully connected layer after them.

    Args:
        stack: as for `feature_map_sizes`.
        channels: number of channels of the last maps.
        size: height and width of the image in pixels.

    Raises:
        ConvlensError: as `feature_map_sizes`.

    Example:
        >>> from torch import nn
        >>> flattened_size(nn.Sequential(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2)), 6, (28, 28))
        864
    """
    *_, (_, last) = feature_map_sizes(stack, size)
    return channels * prod(last)


class _TooSmallError(Exception):
    """A filter does not fit into its input."""


def _map_sizes(stack: nn.Sequential, size: Size) -> list[tuple[str, Size]]:
    sizes = []
    border = (0, 0)  # of a padding layer, which is part of the pooling that follows it
    for name, layer in stack.named_modules():
        if isinstance(layer, nn.ReplicationPad2d):
            left, _, top, _ = layer.padding
            border = (top, left)
        if not isinstance(layer, _WINDOWS):
            continue
        input_size, size = size, _output_size(name, layer, size, border)
        border = (0, 0)
        if size != input_size or isinstance(layer, nn.Conv2d):
            sizes.append((name, size))
    return sizes


def _output_size(name: str, layer: nn.Module, size: Size, border: Size) -> Size:
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
        kind = "convolution" if isinstance(layer, nn.Conv2d) else "pooling"
        raise _TooSmallError(
            f"layer features.{name} ({kernel[0]} x {kernel[1]} {kind}) is given "
            f"{size[0]} x {size[1]} and would give less than one pixel"
        ) from None
    return height, width


def _smallest_size(attempt: Callable[[int], object]) -> int:
    for side in range(1, _LARGEST_SIZE):
        try:
            attempt(side)
        except _TooSmallError:
            continue
        return side
    raise ConvlensError(f"no image of up to {_LARGEST_SIZE} pixels fits this stack")


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
