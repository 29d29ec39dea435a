"""The channels of a convolutional layer, and the number of its parameters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from convlens.analyses.feature_maps.convolution import resolve_padding
from convlens.arithmetic import (
    count_dense_weights,
    count_multiply_adds,
    count_parameters,
    output_size,
)
from convlens.drawing import render_figure
from convlens.drawing.boards import Board
from convlens.drawing.palette import MUTED
from convlens.errors import ConvlensError
from convlens.results import Result
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_SLICES = 4  # channels that are drawn of the input and of each filter
_MOST_FILTERS = 3  # that are drawn one below the other
_MAP, _SLICE, _OFFSET = 3.0, 1.25, 0.32  # sides of maps and slices, and from one to the next
_INPUT_COLORS = ("#e0a08c", "#a9c79b", "#9db7da", "#cfc3e0")
_FILTER_COLORS = ("#e8c48f", "#a8cfc9", "#c9b3dd")
_BIAS = 0.7


@dataclass(frozen=True, eq=False)
class LayerArithmetic(Result):
    """Sizes and costs of a convolutional layer.

    Attributes:
        size: J, length of the sides of the input maps.
        kernel: M, length of the sides of the filters.
        channels_in: C.
        channels_out: C_out, number of filters.
        bias: whether each filter has a bias.
        padding: pixels of padding before and after the input, along each axis.
        stride: S.
        output: length of the sides of the output maps.
        parameters: (M²C + 1) C_out with biases, M²C C_out without.
        multiply_adds: M²C C_out for each position of the output.
        dense_weights: number of weights of a fully connected layer between the same maps.
    """

    size: int
    kernel: int
    channels_in: int
    channels_out: int
    bias: bool
    padding: tuple[int, int]
    stride: int
    output: int
    parameters: int
    multiply_adds: int
    dense_weights: int

    def equations(self) -> str:
        """The counts with the numbers filled in, one on each line.

        Example:
            >>> import convlens
            >>> print(convlens.layer_arithmetic(3, 64, size=224).equations())
            parameters: (M²C + 1) C_out = (3² · 3 + 1) · 64 = 1,792
            multiply-adds: M²C C_out · 224² = 86,704,128
            fully connected: 224² · 3 · 224² · 64 weights = 483,385,147,392
        """
        kernel, inputs, outputs = self.kernel, self.channels_in, self.channels_out
        formula, numbers = "M²C", f"{kernel}² · {inputs}"
        if self.bias:
            formula, numbers = f"({formula} + 1)", f"({numbers} + 1)"
        return (
            f"parameters: {formula} C_out = {numbers} · {outputs} = {self.parameters:,}\n"
            f"multiply-adds: M²C C_out · {self.output}² = {self.multiply_adds:,}\n"
            f"fully connected: {self.size}² · {inputs} · {self.output}² · {outputs} weights = "
            f"{self.dense_weights:,}"
        )

    def summary(self) -> str:
        """The layer and its parameters in words."""
        return (
            f"{counted(self.channels_in, 'channel')} of {self.size} × {self.size}, "
            f"{counted(self.channels_out, 'filter')} of {self.kernel} × {self.kernel} × "
            f"{self.channels_in}: {self.parameters:,} parameters, output {self.output} × "
            f"{self.output} × {self.channels_out}"
        )

    def figure(self) -> "Figure":
        """The input maps, the filters with a slice for each of them, and the output maps.

        Each filter and the map that it gives have one color. At most four channels of a stack and
        three filters are drawn.
        """
        num_slices = min(self.channels_in, _MOST_SLICES)
        filters = min(self.channels_out, _MOST_FILTERS)
        more = self.channels_out - filters
        row = max(2.3, _SLICE + _OFFSET * (num_slices - 1) + 0.75)
        stack = filters * row + 0.6 * (more > 0)
        input_side = _MAP + _OFFSET * (num_slices - 1)
        filter_side = _SLICE + _OFFSET * (num_slices - 1)
        output_side = _MAP + _OFFSET * (filters - 1)
        tallest = max(stack, input_side + 1.6, output_side + 1.6)
        middle = 1.2 + tallest / 2
        input_x, filter_x = 0.6, 8.2
        count_x = filter_x + filter_side + 0.5
        output_x = count_x + 7.0
        board = Board(output_x + 7.6, tallest + 4.0)
        bias = " and a bias" if self.bias else ""
        for x, name in (
            (input_x, f"{counted(self.channels_in, 'input map')} of {self.size} × {self.size}"),
            (
                filter_x,
                f"{counted(self.channels_out, 'filter')} of {self.kernel} × {self.kernel} × "
                f"{self.channels_in}{bias}",
            ),
            (
                output_x,
                f"{counted(self.channels_out, 'output map')} of {self.output} × {self.output}",
            ),
        ):
            board.words(x, 0.5, name, ha="left", color=MUTED)
        colors = list(_INPUT_COLORS[:num_slices])
        self._draw_stack(board, input_x, middle - input_side / 2, _MAP, colors)
        self._draw_more(
            board, input_x, middle + input_side / 2 + 0.45, self.channels_in - num_slices
        )
        for number, color in enumerate(_FILTER_COLORS[:filters]):
            center = middle - stack / 2 + (number + 0.5) * row
            self._draw_stack(
                board, filter_x, center - filter_side / 2, _SLICE, [color] * num_slices
            )
            board.words(count_x, center, f"{self.kernel}² · {self.channels_in}", ha="left")
            if self.bias:
                board.words(count_x + 2.4, center, "+")
                board.box(count_x + 2.9, center - _BIAS / 2, _BIAS, _BIAS, fill=color, lw=0.7)
                board.words(count_x + 2.9 + _BIAS / 2, center, "1", color="#101010")
            start = input_x + input_side + 0.5
            board.arrow((start, middle + (number - 1) * 0.4), (filter_x - 0.4, center))
            board.arrow((count_x + 4.1, center), (output_x - 0.4, middle + (number - 1) * 0.4))
        self._draw_more(board, filter_x, middle - stack / 2 + filters * row + 0.25, more)
        self._draw_stack(
            board, output_x, middle - output_side / 2, _MAP, list(_FILTER_COLORS[:filters])
        )
        self._draw_more(board, output_x, middle + output_side / 2 + 0.45, more)
        board.words(input_x, tallest + 2.6, self.equations(), ha="left", linespacing=1.6)
        return board.figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"layer": render_figure(self.figure(), dpi=150)}

    def _draw_stack(self, board: Board, x: float, y: float, side: float, colors: list[str]) -> None:
        """Squares behind each other, the first in front."""
        for number in reversed(range(len(colors))):
            offset = _OFFSET * number
            board.box(
                x + offset, y + _OFFSET * (len(colors) - 1) - offset, side, side,
                fill=colors[number], lw=0.7, z=4,
            )  # fmt: skip

    def _draw_more(self, board: Board, x: float, y: float, count: int) -> None:
        if count > 0:
            board.words(x, y, f"… {count:,} more", ha="left", color=MUTED, size=8)


def layer_arithmetic(
    channels_in: int = 3,
    channels_out: int = 64,
    *,
    kernel: int = 3,
    size: int = 224,
    padding: int | str = "same",
    stride: int = 1,
    bias: bool = True,
) -> LayerArithmetic:
    """Count the parameters and the multiply-adds of a convolutional layer.

    Each of the C_out filters has M × M weights for each of the C input channels and one bias, so
    that the layer has (M²C + 1) C_out parameters, whatever the size of the image.

    Args:
        channels_in: C, channels of the input; default 3.
        channels_out: C_out, number of filters and so of output maps; default 64.
        kernel: M, length of the sides of a filter; default 3.
        size: J, length of the sides of the input in pixels; default 224.
        padding: pixels on each side, "valid" for none, or "same" (default).
        stride: S; default 1.
        bias: whether each filter has a bias; default True.

    Returns:
        Sizes and counts. The defaults are those of the first layer of VGG-16.

    Raises:
        ConvlensError: a number below 1, an unknown padding, or a filter longer than the padded
            input.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.5.

    Example:
        >>> import convlens
        >>> convlens.layer_arithmetic(channels_in=3, channels_out=64, kernel=3).parameters
        1792
    """
    if min(channels_in, channels_out) < 1:
        raise ConvlensError(
            f"{channels_in} input and {channels_out} output channels; give at least 1 of each"
        )
    ((before, after),) = resolve_padding(padding, (size,), (kernel,), max(stride, 1))
    output = output_size(size, kernel, stride, (before, after))
    return LayerArithmetic(
        size=size,
        kernel=kernel,
        channels_in=channels_in,
        channels_out=channels_out,
        bias=bias,
        padding=(before, after),
        stride=stride,
        output=output,
        parameters=count_parameters(kernel, channels_in, channels_out, bias),
        multiply_adds=count_multiply_adds(kernel, channels_in, channels_out, (output, output)),
        dense_weights=count_dense_weights(
            (channels_in, size, size), (channels_out, output, output)
        ),
    )
