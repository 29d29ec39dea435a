"""The arithmetic of convolutional networks, from Bishop & Bishop, Deep Learning, chapter 10.

Sizes are in pixels or units along one axis, and each axis is computed separately. The symbols are
those of the chapter: image J × K with C channels, filter M × M, padding P, stride S, C_out output
channels.
"""

from collections.abc import Sequence
from math import prod

from convlens.errors import ConvlensError


def output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int = 1,
    *,
    ceil_mode: bool = False,
) -> int:
    """Output length of a convolution or pooling along one axis: ⌊(J + 2P - M)/S⌋ + 1.

    Bishop & Bishop, sections 10.2.3 (padding) and 10.2.4 (stride). With dilation d, M is replaced
    by d(M - 1) + 1. The formula does not hold for transposed convolutions and adaptive pooling.

    Args:
        size: input length J.
        kernel: filter length M.
        stride: step S of the filter; default: 1.
        padding: P on both sides, or `(before, after)`, as `same_padding` returns it; default: 0.
        dilation: distance between neighboring taps of the filter; default: 1.
        ceil_mode: round up, as PyTorch's pooling can; a last window that would start beyond the
            input and the padding before it is dropped. Default: False.

    Returns:
        Number of output positions.

    Raises:
        ConvlensError: the filter is longer than the padded input, or a value is out of range.

    Example:
        >>> output_size(224, kernel=11, stride=4, padding=2)
        55
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    if min(kernel, stride, dilation) < 1 or min(size, before, after) < 0:
        raise ConvlensError(
            f"size {size}, kernel {kernel}, stride {stride}, padding {padding}, dilation "
            f"{dilation}: kernel, stride and dilation are at least 1, size and padding at least 0"
        )
    extent = _extent(kernel, dilation)
    room = size + before + after - extent
    if room < 0:
        raise ConvlensError(
            f"an input of {size} with padding {before} + {after} is shorter than the filter's "
            f"{extent}; give at least {extent - before - after}"
        )
    if not ceil_mode:
        return room // stride + 1
    rounded_up = -(-room // stride) + 1
    return rounded_up - ((rounded_up - 1) * stride >= size + before)


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Padding (before, after) of a same convolution, whose output has length ⌈J/S⌉.

    At stride 1 and odd M it is the chapter's P = (M - 1)/2 on both sides (section 10.2.3). If the
    total is odd, as for even filters, the extra pixel comes after, as in PyTorch and TensorFlow. At
    a stride above 1 the padding depends on the length of the input.

    Args:
        size: input length J.
        kernel: filter length M.
        stride: step S of the filter; default: 1.
        dilation: distance between neighboring taps of the filter; default: 1.

    Returns:
        Padding before and after the input.

    Example:
        >>> same_padding(28, kernel=5), same_padding(28, kernel=4)
        ((2, 2), (1, 2))
    """
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + _extent(kernel, dilation) - size)
    return total // 2, total - total // 2


def count_parameters(
    kernel: int | tuple[int, int],
    channels_in: int,
    channels_out: int,
    bias: bool = True,
    groups: int = 1,
) -> int:
    """Number of learnable parameters of a convolutional layer: (M²C + 1) C_out.

    Bishop & Bishop, section 10.2.5. Without bias it is M²C C_out; in G groups each filter sees C/G
    channels. The number does not depend on image size, stride, padding or dilation.

    Args:
        kernel: M, or `(M_h, M_w)` for a filter that is not square.
        channels_in: C.
        channels_out: C_out.
        bias: whether each output channel has a bias; default: True.
        groups: G; default: 1.

    Raises:
        ConvlensError: a number of channels that the groups do not divide.

    Example:
        >>> count_parameters(3, channels_in=3, channels_out=64)
        1792
    """
    return (_taps(kernel, channels_in, channels_out, groups) + bias) * channels_out


def count_multiply_adds(
    kernel: int | tuple[int, int],
    channels_in: int,
    channels_out: int,
    output: tuple[int, int],
    groups: int = 1,
) -> int:
    """Multiply-adds of a convolutional layer on one image: M²(C/G) C_out for each output position.

    One multiply-add is two floating-point operations. Adding the bias is not counted; taps on the
    padding are counted, as libraries compute them.

    Args:
        kernel: M, or `(M_h, M_w)`.
        channels_in: C.
        channels_out: C_out.
        output: height and width of the output, from `output_size`.
        groups: G; default: 1.

    Raises:
        ConvlensError: a number of channels that the groups do not divide.

    Example:
        >>> count_multiply_adds(3, channels_in=3, channels_out=64, output=(224, 224))
        86704128
    """
    return _taps(kernel, channels_in, channels_out, groups) * channels_out * prod(output)


def count_dense_weights(in_shape: Sequence[int], out_shape: Sequence[int]) -> int:
    """Number of weights of a fully connected layer between two shapes, without biases.

    A convolution between the same shapes has fewer, as it is sparse and shares its weights (Bishop
    & Bishop, section 10.2.2).

    Args:
        in_shape: shape of the input, such as `(C, H, W)`.
        out_shape: shape of the output.

    Example:
        >>> count_dense_weights((1, 28, 28), (6, 28, 28))
        3687936
    """
    return prod(in_shape) * prod(out_shape)


def _extent(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) + 1


def _taps(kernel: int | tuple[int, int], channels_in: int, channels_out: int, groups: int) -> int:
    if groups < 1 or channels_in % groups or channels_out % groups:
        raise ConvlensError(
            f"{groups} groups do not divide {channels_in} input and {channels_out} output channels"
        )
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return height * width * channels_in // groups
