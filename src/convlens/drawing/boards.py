"""Boards: matplotlib figures on which grids of numbers are drawn, with the cell as the unit."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from convlens.drawing.figures import SIGNED, new_figure
from convlens.drawing.palette import INK, LINE, MUTED
from convlens.text import plot_text

_ON_LIGHT, _ON_DARK = "#101010", "#ffffff"  # digits on a cell that has a color of its own
_POINTS = 72.0  # in an inch
_DIGIT_WIDTH = 0.6  # of a digit, as a share of the size of the font


class Board:
    """A figure without axes, whose coordinates are cells to the right and downward.

    Args:
        width: cells from left to right.
        height: cells from top to bottom.
        cell: side of a cell in inches; default 0.34.
        font: size of numbers and words in points; default 9.

    Attributes:
        figure: the matplotlib figure.
        axes: its only axes.
        font: size of numbers and words in points.
    """

    def __init__(
        self, width: float, height: float, *, cell: float = 0.34, font: float = 9.0
    ) -> None:
        self.figure = new_figure(figsize=(width * cell, height * cell), layout="none")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        self.font = font
        self._cell = cell

    def grid(
        self,
        values: Tensor,
        x: float,
        y: float,
        *,
        fills: Sequence[Sequence[str | None]] | None = None,
        colors: Tensor | None = None,
        signed: bool = False,
        faint: Tensor | None = None,
        side: float = 1.0,
        numbers: bool = True,
        decimals: int | None = None,
    ) -> None:
        """Draw a grid of numbers.

        Args:
            values: `(h, w)`.
            x: left edge.
            y: upper edge.
            fills: color of each cell by name, or None for no color; default: no colors.
            colors: uint8 `(h, w, 3)`, colors of the cells that stand for data, in place of `fills`;
                default: none.
            signed: whether these are `diverging_colors`, with white at zero; default False.
            faint: bool `(h, w)`, cells with gray numbers and dotted edges; default: none.
            side: side of a cell; default 1.
            numbers: whether to write the numbers; default True.
            decimals: decimal places of all numbers; default: as `format_number` writes each.
        """
        height, width = values.shape
        label = SIGNED if signed else ""
        texts = [[format_number(value, decimals) for value in row] for row in values.tolist()]
        widest = max(len(text) for row in texts for text in row)
        room = 0.9 * side * self._cell * _POINTS
        size = min(self.font * min(1.0, side + 0.1), room / max(widest * _DIGIT_WIDTH, 1.0))
        for row in range(height):
            for column in range(width):
                is_faint = faint is not None and bool(faint[row, column])
                color, fill = MUTED if is_faint else INK, fills[row][column] if fills else None
                if colors is not None:
                    red, green, blue = (int(part) for part in colors[row, column])
                    fill = f"#{red:02x}{green:02x}{blue:02x}"
                    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 120
                    color = _ON_DARK if is_dark else _ON_LIGHT
                self.box(
                    x + column * side, y + row * side, side, side, fill=fill, color=LINE, lw=0.6,
                    dotted=is_faint, z=1, label=label,
                )  # fmt: skip
                if numbers:
                    self.words(
                        x + (column + 0.5) * side, y + (row + 0.5) * side, texts[row][column],
                        size=size, color=color, label=label,
                    )  # fmt: skip
        self.box(x, y, width * side, height * side, color=MUTED, lw=0.8, z=2)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str | None = None,
        color: str = INK,
        lw: float = 1.0,
        dotted: bool = False,
        z: int = 3,
        label: str = "",
    ) -> None:
        """Draw a rectangle: its left upper corner, size, fill, and color and width of its line."""
        from matplotlib.patches import Rectangle

        style = (0, (1, 1.5)) if dotted else "-"
        self.axes.add_patch(
            Rectangle(
                (x, y), width, height, facecolor=fill or "none", edgecolor=color, linewidth=lw,
                linestyle=style, zorder=z, label=label,
            )
        )  # fmt: skip

    def picture(
        self,
        pixels: Tensor,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        signed: bool = False,
    ) -> None:
        """Draw a picture uint8 `(H, W, 3)` with a thin frame.

        Args:
            pixels: the picture; it is smoothed where it is drawn smaller than its pixels.
            x: left edge.
            y: upper edge.
            width: width in cells.
            height: height in cells.
            signed: whether its colors are `diverging_colors`, with white at zero; default False.
        """
        self.axes.imshow(
            pixels.numpy(), extent=(x, x + width, y + height, y), aspect="auto", zorder=2,
            interpolation="antialiased", label=SIGNED if signed else "",
        )  # fmt: skip
        self.box(x, y, width, height, color=LINE, lw=0.6)

    def dot(self, x: float, y: float, color: str = INK, size: float = 4.0) -> None:
        """Draw a dot; its size is in points."""
        self.axes.plot([x], [y], "o", color=color, markersize=size, zorder=4, markeredgewidth=0)

    def words(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text, centered at a position unless `ha` and `va` say otherwise.

        Args:
            x: position to the right.
            y: position downward.
            text: the text.
            **style: of matplotlib's text; default: the board's font size, ink, centered.
        """
        style = {
            "size": self.font, "color": INK, "ha": "center", "va": "center", "zorder": 5, **style
        }  # fmt: skip
        self.axes.text(x, y, plot_text(text), **style)

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], color: str = MUTED
    ) -> None:
        """Draw an arrow between two positions `(x, y)`."""
        from matplotlib.patches import FancyArrowPatch

        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="->", mutation_scale=9, color=color, linewidth=1, zorder=3
            )
        )


def format_number(value: float, decimals: int | None = None) -> str:
    """A number as it is written in a cell, with a real minus sign.

    Args:
        value: the number.
        decimals: decimal places; default: three digits without zeros at their end.

    Example:
        >>> format_number(-4.0), format_number(0.12345), format_number(255), format_number(0.5, 2)
        ('−4', '0.123', '255', '0.50')
    """
    text = f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
    if "e" in text and abs(value) >= 1:
        text = f"{value:.0f}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")
