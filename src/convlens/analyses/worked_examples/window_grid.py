"""Where the windows of a filter lie in an image, for a padding, a stride and a dilation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.feature_maps.convolution import resolve_padding
from convlens.arithmetic import output_size
from convlens.drawing import render_figure
from convlens.drawing.boards import Board
from convlens.drawing.palette import ACCENT, ACCENT_FILL, FILL, INK, MUTED, SECOND, SECOND_FILL
from convlens.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CELLS = 16  # of a side that is drawn; larger images are cut off
_MOST_OUTPUTS = 8  # of a side of the output, then


@dataclass(frozen=True, eq=False)
class WindowGrid(Result):
    """The windows of a square filter on a square image, and the size of the output.

    Attributes:
        size: J, length of the image's sides.
        kernel: M, length of the filter's sides.
        stride: S.
        dilation: distance between neighboring taps of the filter.
        padding: pixels of padding before and after the image, along each axis.
        padding_name: "valid", "same", or the number of pixels.
        output: length of the output's sides.
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    padding: tuple[int, int]
    padding_name: str
    output: int

    @property
    def extent(self) -> int:
        """Length of a window: M, or d(M − 1) + 1 with the dilation d."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each window along an axis; negative in the padding."""
        return tuple(number * self.stride - self.padding[0] for number in range(self.output))

    @property
    def uncovered(self) -> int:
        """Pixels and padding at the end of an axis that no window reaches."""
        return self.size + sum(self.padding) - (self.output - 1) * self.stride - self.extent

    def equation(self) -> str:
        """The formula of the output's size, with the numbers filled in.

        Example:
            >>> import convlens
            >>> print(convlens.window_grid(7, 3, stride=2).equation())
            ⌊(J + 2P − M) / S⌋ + 1
            = ⌊(7 + 2·0 − 3) / 2⌋ + 1
            = ⌊4 / 2⌋ + 1 = 3
        """
        before, after = self.padding
        length = "d(M − 1) − 1" if self.dilation > 1 else "M"
        numbers = f"{self.extent}" if self.dilation == 1 else f"{self.extent - 1} − 1"
        padding, padding_numbers = "2P", f"2·{before}"
        if before != after:
            padding, padding_numbers = "P₁ + P₂", f"{before} + {after}"
        room = self.size + before + after - self.extent
        return (
            f"⌊(J + {padding} − {length}) / S⌋ + 1\n"
            f"= ⌊({self.size} + {padding_numbers} − {numbers}) / {self.stride}⌋ + 1\n"
            f"= ⌊{room} / {self.stride}⌋ + 1 = {self.output}"
        )

    def summary(self) -> str:
        """The sizes in words."""
        return (
            f"{self.size} × {self.size}, filter {self.kernel} × {self.kernel}, padding "
            f"{self._describe_padding()}, stride {self.stride}"
            + (f", dilation {self.dilation}" if self.dilation > 1 else "")
            + f": output {self.output} × {self.output}"
        )

    def figure(self) -> "Figure":
        """The image with its padding, a dot for each window, and the output.

        The first window is brown and the next one blue, as are their cells of the output. Gray
        cells are in no window. Only the upper left corner of a large image is drawn.
        """
        before, after = self.padding
        whole = before + self.size + after
        num_cells = min(whole, _MOST_CELLS)
        cut = num_cells < whole
        output = min(self.output, _MOST_OUTPUTS) if cut else self.output
        text_width = 7.6
        height = max(num_cells, output, 6) + 2.4 + 0.8 * cut
        board = Board(num_cells + output + text_width + 4.2, height, cell=0.28)
        self._draw_input(board, 0.5, 1.3, num_cells)
        x = num_cells + 2.7
        middle = 1.3 + num_cells / 2
        board.arrow((num_cells + 0.9, middle), (x - 0.4, middle))
        self._draw_output(board, x, 1.3 + max(0.0, (num_cells - output) / 2), output)
        board.words(
            x + output + 0.9, middle, self.equation(), ha="left", linespacing=1.7, size=board.font
        )
        if cut:
            board.words(
                0.5, height - 0.6,
                f"The upper left corner: {num_cells} of {whole} and {output} of {self.output} "
                f"cells.",
                ha="left", color=MUTED, size=8,
            )  # fmt: skip
        return board.figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"windows": render_figure(self.figure(), dpi=150)}

    def _describe_padding(self) -> str:
        before, after = self.padding
        pixels = f"{before}" if before == after else f"{before} and {after}"
        return pixels if self.padding_name == pixels else f"{self.padding_name} ({pixels})"

    def _draw_input(self, board: Board, x: float, y: float, num_cells: int) -> None:
        before = self.padding[0]
        taps = [number * self.dilation for number in range(self.kernel)]
        second = self.stride if self.output > 1 else None
        last = (self.output - 1) * self.stride + self.extent

        def fill(row: int, column: int) -> str | None:
            if row in taps and column in taps:
                return ACCENT_FILL
            if second is not None and row in taps and column - second in taps:
                return SECOND_FILL
            covered = _is_covered(row, last, self) and _is_covered(column, last, self)
            return None if covered else FILL

        inside = range(before, before + self.size)
        faint = torch.tensor(
            [[row not in inside or column not in inside for column in range(num_cells)]
             for row in range(num_cells)],
            dtype=torch.bool,
        )  # fmt: skip
        board.words(
            x, y - 0.55,
            f"image {self.size} × {self.size}" + (", padded" if sum(self.padding) else ""),
            ha="left", color=MUTED,
        )  # fmt: skip
        board.grid(
            torch.zeros(num_cells, num_cells, dtype=torch.float32), x, y, faint=faint,
            numbers=False,
            fills=[[fill(row, column) for column in range(num_cells)] for row in range(num_cells)],
        )  # fmt: skip
        for row, column in faint.nonzero().tolist():
            board.words(x + column + 0.5, y + row + 0.5, "0", color=MUTED, size=7)
        num_image_cells = min(self.size, num_cells - before)
        board.box(x + before, y + before, num_image_cells, num_image_cells, color=INK, lw=1.4)
        extent = min(self.extent, num_cells)
        for start, color in ((second, SECOND), (0, ACCENT)):
            if start is not None and start < num_cells:
                wide = min(extent, num_cells - start)
                board.box(x + start, y, wide, extent, color=color, lw=2.0, z=4)
        for row in range(self.output):
            for column in range(self.output):
                at = [number * self.stride + self.extent / 2 for number in (row, column)]
                if max(at) < num_cells:
                    color = {(0, 0): ACCENT, (0, 1): SECOND}.get((row, column), INK)
                    board.dot(x + at[1], y + at[0], color)

    def _draw_output(self, board: Board, x: float, y: float, output: int) -> None:
        fills: list[list[str | None]] = [[None] * output for _ in range(output)]
        fills[0][0] = ACCENT_FILL
        if output > 1:
            fills[0][1] = SECOND_FILL
        name = f"output {self.output} × {self.output}"
        board.words(x, y - 0.55, name, ha="left", color=MUTED)
        board.grid(
            torch.zeros(output, output, dtype=torch.float32), x, y, fills=fills, numbers=False
        )
        for row in range(output):
            for column in range(output):
                color = {(0, 0): ACCENT, (0, 1): SECOND}.get((row, column), INK)
                board.dot(x + column + 0.5, y + row + 0.5, color)


def _is_covered(position: int, last: int, grid: WindowGrid) -> bool:
    """Whether some window reads a position along an axis."""
    return position < last and any(
        0 <= position - tap * grid.dilation <= (grid.output - 1) * grid.stride
        and (position - tap * grid.dilation) % grid.stride == 0
        for tap in range(grid.kernel)
    )


def window_grid(
    size: int = 6,
    kernel: int = 3,
    *,
    padding: int | str = "valid",
    stride: int = 1,
    dilation: int = 1,
) -> WindowGrid:
    """Find where the windows of a filter lie, and the size of the output.

    The output has ⌊(J + 2P − M)/S⌋ + 1 positions along each axis: as many as windows fit.

    Args:
        size: J, length of the image's sides in pixels; default 6.
        kernel: M, length of the filter's sides; default 3.
        padding: P, pixels on each side; "valid" (default) for none; "same" for an output of ⌈J/S⌉,
            with the odd pixel after the image.
        stride: S, steps of the filter; default 1.
        dilation: distance between neighboring taps of the filter; default 1.

    Returns:
        The padding in pixels, the first pixel of each window, and the size of the output.

    Raises:
        ConvlensError: an unknown padding, a number out of range, or a filter longer than the
            padded image.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, sections 10.2.3 and 10.2.4.

    Example:
        >>> import convlens
        >>> convlens.window_grid(6, 3).output, convlens.window_grid(6, 3, padding="same").output
        (4, 6)
        >>> convlens.window_grid(7, 3, stride=2).starts
        (0, 2, 4)
    """
    extent = dilation * (kernel - 1) + 1
    ((before, after),) = resolve_padding(padding, (size,), (extent,), max(stride, 1))
    return WindowGrid(
        size=size,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=(before, after),
        padding_name=str(padding),
        output=output_size(size, kernel, stride, (before, after), dilation),
    )
