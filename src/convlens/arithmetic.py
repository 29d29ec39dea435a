"""The formulae of convolutional networks, from Bishop & Bishop, Deep Learning, chapter 10.

Sizes are in pixels or units along one axis and hold for each axis on its own. In the chapter's
letters: an image J × K with C channels, a filter M × M, padding P, stride S, C_out output channels.
"""

from collections.abc import Iterable, Sequence
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
    """Length of a convolution's or a pooling's output along one axis: ⌊(J + 2P - M)/S⌋ + 1.

    Bishop & Bishop, section 10.2.3 (padding) and 10.2.4 (stride). With dilation d, M becomes
    d(M - 1) + 1. It does not hold for transposed convolutions and adaptive pooling.

    Args:
        size: input length J.
        kernel: filter length M.
        stride: step S of the filter.
        padding: P on both sides, or `(before, after)` where they differ, as for `same_padding`.
        dilation: distance between neighboring taps of the filter.
        ceil_mode: round up, as PyTorch's pooling can; a window that would start beyond the input
            and the padding before it is left out.

    Raises:
        ConvlensError: the filter is longer than the padded input, or a value out of range.
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


def valid_padding() -> tuple[int, int]:
    """Padding (before, after) of a valid convolution: none, the filter stays inside the image."""
    return 0, 0


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Padding (before, after) of a same convolution, whose output has length ⌈J/S⌉.

    At stride 1 and odd M this is the chapter's P = (M - 1)/2 on both sides. Where the total is
    odd, as for even filters, the further pixel comes after, as in PyTorch and TensorFlow; at a
    stride above 1 it depends on the input's length, and PyTorch itself offers no same padding.
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
    """Learnable parameters of a convolutional layer: (M²C + 1) C_out.

    Bishop & Bishop, section 10.2.5. Without bias M²C C_out; in G groups each filter sees C/G
    channels. They do not depend on the image's size, nor on stride, padding or dilation.

    Args:
        kernel: M, or `(M_h, M_w)` for a filter that is not square.
        channels_in: C.
        channels_out: C_out.
        bias: one for each output channel.
        groups: G.

    Raises:
        ConvlensError: channels that the groups do not divide.
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

    One multiply-add counts once (as two floating-point operations); adding the bias counts
    nothing; taps that fall on the padding count, as libraries compute them.

    Args:
        kernel: M, or `(M_h, M_w)`.
        channels_in: C.
        channels_out: C_out.
        output: height and width of the output, from `output_size`.
        groups: G.

    Raises:
        ConvlensError: channels that the groups do not divide.
    """
    return _taps(kernel, channels_in, channels_out, groups) * channels_out * prod(output)


def count_dense_weights(in_shape: Sequence[int], out_shape: Sequence[int]) -> int:
    """Weights of a fully connected layer between tensors of these shapes, without biases.

    What a convolution between the same sizes saves by being sparse and sharing its weights
    (Bishop & Bishop, section 10.2.2).
    """
    return prod(in_shape) * prod(out_shape)


def chain_receptive_field(layers: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
    """Size and stride, in input pixels along one axis, of the field that one output unit sees.

    size = 1 + Σ_l d_l (M_l - 1) Π_{k<l} S_k and stride = Π_l S_l. It holds for a plain chain of
    convolutions and poolings; branches, adaptive pooling and upsampling need
    the interval arrays of `convlens.tracing`.

    Args:
        layers: (kernel M, stride S, dilation d) of each, from the image on.
    """
    size, step = 1, 1
    for kernel, stride, dilation in layers:
        size += dilation * (kernel - 1) * step
        step *= stride
    return size, step


def _extent(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) + 1


def _taps(kernel: int | tuple[int, int], channels_in: int, channels_out: int, groups: int) -> int:
    if groups < 1 or channels_in % groups or channels_out % groups:
        raise ConvlensError(
            f"{groups} groups do not divide {channels_in} input and {channels_out} output channels"
        )
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return height * width * channels_in // groups
