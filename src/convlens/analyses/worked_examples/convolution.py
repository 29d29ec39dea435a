"""A small image convolved with a small filter, with every sum written out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from convlens.analyses.feature_maps.convolution import convolve, resolve_padding
from convlens.drawing import render_figure
from convlens.drawing.boards import Board, format_number
from convlens.drawing.palette import ACCENT, ACCENT_FILL, MUTED
from convlens.errors import ConvlensError
from convlens.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_SIDE = 12  # of an image or a filter that is written out
_MOST_SUMS = 16  # that are written out
_MOST_COLUMNS = 4  # of sums beside each other
_RANDOM_IMAGE, _RANDOM_FILTER = 4, 2  # sides of a random example
_GREATEST, _WEIGHTS = 9, 2  # numbers of a random image and, with either sign, of its filter
_MINI = 0.62  # side of a cell of the small images beside the sums


@dataclass(frozen=True, eq=False)
class ConvolutionArithmetic(Result):
    """A convolution of a small image with a small filter.

    Attributes:
        image: float32 `(H, W)`.
        filter: float32 `(Mh, Mw)`.
        bias: number added to each sum.
        padding: zeros added at the top, bottom, left and right of the image.
        stride: steps of the filter.
        feature_map: float32 `(h, w)`.
    """

    image: Tensor
    filter: Tensor
    bias: float
    padding: tuple[int, int, int, int]
    stride: int
    feature_map: Tensor

    @property
    def padded(self) -> Tensor:
        """float32, the image with the zeros around it."""
        top, bottom, left, right = self.padding
        return F.pad(self.image, (left, right, top, bottom))

    def window(self, row: int, column: int) -> Tensor:
        """float32 `(Mh, Mw)`, the numbers under the filter at a position of the feature map."""
        height, width = self.filter.shape
        y, x = row * self.stride, column * self.stride
        return self.padded[y : y + height, x : x + width]

    def products(self, row: int, column: int) -> Tensor:
        """float32 `(Mh, Mw)`, the products whose sum is a number of the feature map."""
        return self.window(row, column) * self.filter

    def equation(self, row: int, column: int) -> str:
        """The sum at a position, with a line for each row of the filter and one for the result.

        Example:
            >>> import convlens
            >>> print(convlens.convolution_arithmetic().equation(0, 0))
            1·1 + 2·0
            + 4·0 + 5·(−1)
            = −4
        """
        lines: list[str] = []
        for numbers, weights in zip(self.window(row, column), self.filter, strict=True):
            terms = (
                f"{_factor(number)}·{_factor(weight)}"
                for number, weight in zip(numbers.tolist(), weights.tolist(), strict=True)
            )
            lines.append(("+ " if lines else "") + " + ".join(terms))
        if self.bias:
            lines.append(f"{'−' if self.bias < 0 else '+'} {format_number(abs(self.bias))}")
        return "\n".join([*lines, f"= {format_number(float(self.feature_map[row, column]))}"])

    def summary(self) -> str:
        """The sizes in words."""
        height, width = self.padded.shape
        rows, columns = self.filter.shape
        y, x = self.feature_map.shape
        return (
            f"a filter of {rows} × {columns} has {y} × {x} positions in {height} × {width} "
            f"numbers{f' at stride {self.stride}' if self.stride > 1 else ''}, so the feature map "
            f"is {y} × {x}"
        )

    def figure(self) -> "Figure":
        """Image, filter and feature map, and beneath them the sum of each position.

        Up to 16 sums are written out.
        """
        padded, (height, width) = self.padded, self.padded.shape
        rows, columns = self.filter.shape
        y, x = self.feature_map.shape
        across = min(x, _MOST_COLUMNS)
        positions = [(row, column) for row in range(y) for column in range(x)][:_MOST_SUMS]
        lines = rows + 1 + (self.bias != 0)
        sum_width = _MINI * width + 0.6 + max(2.2, 1.75 * columns) + 0.8
        sum_height = max(_MINI * height, 0.62 * lines) + 1.1
        top_height = max(height, rows, y) + 1.7
        bias_width = 1.9 * (self.bias != 0)
        top_width = width + columns + x + 5.5 + bias_width
        down = -(-len(positions) // across)
        board = Board(
            max(top_width, across * sum_width) + 0.6, top_height + down * sum_height + 0.3
        )
        left = 0.5
        middle = 1.2 + max(height, rows, y) / 2
        padding = ", padded" if any(self.padding) else ""
        parts = (
            (padded, f"image {self.image.shape[0]} × {self.image.shape[1]}{padding}", "∗", 0.0),
            (self.filter, f"filter {rows} × {columns}", self._result_sign(), bias_width),
            (self.feature_map, f"feature map {y} × {x}", "", 0.0),
        )
        for values, name, sign, room in parts:
            tall, wide = values.shape
            board.grid(
                values, left, middle - tall / 2,
                faint=self._is_padding() if values is padded else None,
            )  # fmt: skip
            board.words(
                left + wide / 2, middle - tall / 2 - 0.45, name, color=MUTED, size=board.font - 0.5
            )
            board.words(left + wide + 0.95 + room / 2, middle, sign, size=13)
            left += wide + 1.9 + room
        for number, (row, column) in enumerate(positions):
            self._add_sum(
                board, row, column, 0.5 + number % across * sum_width,
                top_height + number // across * sum_height,
            )  # fmt: skip
        return board.figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"convolution": render_figure(self.figure(), dpi=150)}

    def _result_sign(self) -> str:
        if not self.bias:
            return "="
        return f"{'−' if self.bias < 0 else '+'} {format_number(abs(self.bias))} ="

    def _is_padding(self) -> Tensor:
        top, bottom, left, right = self.padding
        inside = torch.zeros_like(self.image, dtype=torch.bool)
        return F.pad(inside, (left, right, top, bottom), value=True)

    def _add_sum(self, board: Board, row: int, column: int, x: float, y: float) -> None:
        padded, (height, width) = self.padded, self.filter.shape
        top, left = row * self.stride, column * self.stride
        fills = [
            [
                ACCENT_FILL if top <= at_y < top + height and left <= at_x < left + width else None
                for at_x in range(padded.shape[1])
            ]
            for at_y in range(padded.shape[0])
        ]
        board.words(x, y + 0.25, f"C({row}, {column})", ha="left", color=ACCENT, size=8)
        board.grid(padded, x, y + 0.6, fills=fills, faint=self._is_padding(), side=_MINI)
        board.box(
            x + left * _MINI, y + 0.6 + top * _MINI, width * _MINI, height * _MINI, color=ACCENT,
            lw=1.5,
        )  # fmt: skip
        board.words(
            x + padded.shape[1] * _MINI + 0.45, y + 0.6 + padded.shape[0] * _MINI / 2,
            self.equation(row, column), ha="left", linespacing=1.35,
        )  # fmt: skip


def convolution_arithmetic(
    image: Tensor | None = None,
    filter: Tensor | None = None,
    *,
    bias: float = 0.0,
    padding: int | str = "valid",
    stride: int = 1,
    seed: int | None = None,
) -> ConvolutionArithmetic:
    """Convolve a small image with a small filter, and write out every sum.

        C(j, k) = Σₗ Σₘ I(j + l, k + m) K(l, m)

    Args:
        image: I, `(H, W)` of at most 12 × 12 numbers. Default: 1 to 9, row by row.
        filter: K, `(Mh, Mw)`. Default: [[1, 0], [0, −1]].
        bias: number added to each sum; default 0.
        padding: zeros on each side, or "valid" (default) or "same", as for `convolve`.
        stride: steps of the filter; default 1.
        seed: draw what is not given at random, an image of 4 × 4 numbers from 0 to 9 and a filter
            of 2 × 2 numbers from −2 to 2; default: nothing is drawn.

    Returns:
        The feature map, with the window, the products and the equation of each of its numbers.

    Raises:
        ConvlensError: arrays of another shape or too large to be written out, or a filter larger
            than the padded image.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.2.

    Example:
        >>> import convlens
        >>> convlens.convolution_arithmetic().feature_map
        tensor([[-4., -4.],
                [-4., -4.]])
    """
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        random_image = torch.randint(
            0, _GREATEST + 1, (_RANDOM_IMAGE, _RANDOM_IMAGE), generator=generator
        )
        random_filter = torch.randint(
            -_WEIGHTS, _WEIGHTS + 1, (_RANDOM_FILTER, _RANDOM_FILTER), generator=generator
        )
    else:
        random_image = torch.arange(1, 10).view(3, 3)
        random_filter = torch.tensor([[1, 0], [0, -1]], dtype=torch.int64)
    image = (random_image if image is None else image).float()
    kernel = (random_filter if filter is None else filter).float()
    for name, values in (("image", image), ("filter", kernel)):
        if values.ndim != 2 or not 1 <= min(values.shape) <= max(values.shape) <= _LARGEST_SIDE:
            raise ConvlensError(
                f"the {name} of shape {tuple(values.shape)} is not written out; give rows and "
                f"columns, at most {_LARGEST_SIDE} of each (convlens.convolve takes any size)"
            )
    feature_map = convolve(image[None, None], kernel[None], padding=padding, stride=stride) + bias
    pads = resolve_padding(padding, image.shape, kernel.shape, stride)
    return ConvolutionArithmetic(
        image=image,
        filter=kernel,
        bias=float(bias),
        padding=(*pads[0], *pads[1]),
        stride=stride,
        feature_map=feature_map[0, 0],
    )


def _factor(value: float) -> str:
    """A factor of a product, in parentheses if it is negative."""
    text = format_number(value)
    return f"({text})" if value < 0 else text
