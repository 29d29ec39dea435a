"""Max and average pooling of a small map, before and after the map is shifted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.feature_maps.convolution import pool
from convlens.drawing import render_figure
from convlens.drawing.boards import Board
from convlens.drawing.palette import ACCENT, ACCENT_FILL, FILL, MUTED, SECOND, SECOND_FILL
from convlens.errors import ConvlensError
from convlens.results import Result
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_SIDE = 12  # of a map that is written out
_GREATEST = 9  # number of a random map
_RANDOM = 4  # side of a random map
# The greatest number of each window stands on its left, so that it stays in the window when the
# map moves to the right, and leaves it when the map moves to the left.
_EXAMPLE = ((1, 0, 3, 2), (7, 2, 5, 1), (6, 1, 4, 3), (0, 3, 8, 0))
_SHIFTS = ((0, 1), (0, -1))


@dataclass(frozen=True, eq=False)
class PoolingArithmetic(Result):
    """Max and average pooling of a small map and of shifted copies of it.

    Attributes:
        values: float32 `(S, H, W)`: the map, then its shifted copies. Zeros enter at their borders.
        shifts: rows downward and columns to the right by which each of them is shifted.
        window: side of the pooling windows.
        stride: steps from window to window.
        maximum: float32 `(S, h, w)`, greatest number of each window.
        average: float32 `(S, h, w)`, mean of each window.
    """

    values: Tensor
    shifts: tuple[tuple[int, int], ...]
    window: int
    stride: int
    maximum: Tensor
    average: Tensor

    def changed(self, number: int) -> tuple[int, int, int]:
        """How many numbers a shift changes: of the map, of its maxima and of its means.

        Args:
            number: number of the shifted copy, from 1.
        """
        cells, maxima, means = (
            int((maps[number] != maps[0]).sum())
            for maps in (self.values, self.maximum, self.average)
        )
        return cells, maxima, means

    def summary(self) -> str:
        """What each shift changes, in words."""
        sentences = []
        for number, shift in enumerate(self.shifts[1:], 1):
            cells, maxima, means = self.changed(number)
            sentences.append(
                f"shifted {_describe_shift(shift)}, {cells} of {self.values[0].numel()} numbers "
                f"change, {maxima} of {counted(self.maximum[0].numel(), 'maximum')} and "
                f"{means} of {self.average[0].numel()} means"
            )
        return "; ".join(sentences).replace("maximums", "maxima")

    def figure(self) -> "Figure":
        """The map and its pooled maps, and beneath them those of each shifted copy.

        Numbers that a shift changes are blue.
        """
        height, width = self.values.shape[1:]
        rows, columns = self.maximum.shape[1:]
        row_height = height + 1.8
        first = max(width, 6) + 2.4
        pooled_step = max(columns, 5) + 1.0
        board = Board(first + 2 * pooled_step, len(self.values) * row_height + 0.2)
        for number, values in enumerate(self.values):
            y = 1.3 + number * row_height
            name = "map" if number == 0 else f"map shifted {_describe_shift(self.shifts[number])}"
            board.words(0.5, y - 0.55, name, ha="left", color=MUTED)
            board.grid(values, 0.5, y, fills=self._fill_windows())
            for row in range(rows):
                for column in range(columns):
                    side = self.window
                    x = 0.5 + column * self.stride
                    top = y + row * self.stride
                    board.box(x, top, side, side, color=ACCENT, lw=1.3)
            board.arrow((width + 0.9, y + height / 2), (first - 0.4, y + height / 2))
            for at, (kind, maps) in enumerate(
                (("max pooled", self.maximum), ("average pooled", self.average))
            ):
                x = first + at * pooled_step
                changed = (maps[number] != maps[0]).tolist()
                top = y + (height - rows) / 2
                board.words(x, top - 0.55, kind, ha="left", color=MUTED)
                board.grid(
                    maps[number], x, top,
                    fills=[
                        [SECOND_FILL if cell else ACCENT_FILL for cell in row] for row in changed
                    ],
                )  # fmt: skip
                if number:
                    count = sum(map(sum, changed))
                    text = f"{count} of {rows * columns} changed"
                    color = SECOND if count else ACCENT
                    board.words(x, top + rows + 0.4, text, ha="left", color=color)
        return board.figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"pooling": render_figure(self.figure(), dpi=150)}

    def _fill_windows(self) -> list[list[str | None]]:
        """Every second window in gray, as on a chessboard, where windows do not overlap."""
        height, width = self.values.shape[1:]
        if self.stride < self.window:
            return [[None] * width for _ in range(height)]
        return [
            [
                FILL if (row // self.stride + column // self.stride) % 2 else None
                for column in range(width)
            ]
            for row in range(height)
        ]


def pooling_arithmetic(
    values: Tensor | None = None,
    *,
    window: int = 2,
    stride: int | None = None,
    shifts: Sequence[tuple[int, int]] = _SHIFTS,
    seed: int | None = None,
) -> PoolingArithmetic:
    """Pool a small map by maxima and means, and again after the map is shifted.

    A maximum does not change as long as the number stays in its window and none that is greater
    enters, so max pooling is invariant to some small shifts, and not to all.

    Args:
        values: the map, `(H, W)` of at most 12 × 12 numbers. Default: 4 × 4 numbers of which the
            greatest of each window stands on its left.
        window: side of the windows; default 2.
        stride: steps from window to window; default: the window's side.
        shifts: rows downward and columns to the right of each shift; default: one column to the
            right, and one to the left.
        seed: draw the map at random, 4 × 4 numbers from 0 to 9; default: nothing is drawn.

    Returns:
        The maps and the pooled maps, before and after each shift.

    Raises:
        ConvlensError: a map of another shape or too large to be written out, or a window larger
            than the map.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.6.

    Example:
        >>> import convlens
        >>> result = convlens.pooling_arithmetic()
        >>> result.maximum[0]
        tensor([[7., 5.],
                [6., 8.]])
        >>> result.changed(1)  # shifted to the right: of the map, the maxima, the means
        (15, 0, 4)
    """
    if values is None:
        values = torch.tensor(_EXAMPLE, dtype=torch.float32)
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            values = torch.randint(0, _GREATEST + 1, (_RANDOM, _RANDOM), generator=generator)
    values = values.float()
    if values.ndim != 2 or not 1 <= min(values.shape) <= max(values.shape) <= _LARGEST_SIDE:
        raise ConvlensError(
            f"a map of shape {tuple(values.shape)} is not written out; give rows and columns, at "
            f"most {_LARGEST_SIDE} of each"
        )
    all_shifts = ((0, 0), *((int(down), int(right)) for down, right in shifts))
    maps = torch.stack([_shift(values, *shift) for shift in all_shifts])
    return PoolingArithmetic(
        values=maps,
        shifts=all_shifts,
        window=window,
        stride=stride or window,
        maximum=pool(maps, "max", window, stride),
        average=pool(maps, "average", window, stride),
    )


def _shift(values: Tensor, down: int, right: int) -> Tensor:
    """A map moved by rows and columns; zeros enter."""
    height, width = values.shape
    shifted = torch.zeros_like(values)
    if abs(down) < height and abs(right) < width:
        shifted[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = (
            values[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
        )
    return shifted


def _describe_shift(shift: tuple[int, int]) -> str:
    """A shift in words, such as `1 column to the right`."""
    words = []
    for pixels, noun, directions in (
        (shift[0], "row", ("down", "up")),
        (shift[1], "column", ("to the right", "to the left")),
    ):
        if pixels:
            words.append(f"{counted(abs(pixels), noun)} {directions[pixels < 0]}")
    return " and ".join(words) or "not at all"
