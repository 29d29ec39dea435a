"""Matplotlib figures of results, for notebooks and papers: pictures in rows, with titles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.colors import Colormap, ListedColormap, Normalize
from torch import Tensor

from convlens.drawing.captions import overlay_colors
from convlens.drawing.colormaps import DIVERGING, GRAY, SEQUENTIAL
from convlens.drawing.lettering import SIZE, text_width, wrap_text
from convlens.drawing.palette import INK, LINE
from convlens.errors import ConvlensError
from convlens.text import plot_text

if TYPE_CHECKING:
    from convlens.drawing.result_figure import ResultFigure

# Label of the artists, or of the axes around them, that are drawn in `diverging_colors`. Where the
# document is dark, `html.figures` draws their zero black instead of white.
SIGNED = "signed"

_WIDTH = 7.0  # inches, the width of the text on a page of two columns
_LEAST_WIDTH = 3.2  # inches, so that a title fits above one small picture
_LARGEST_PANEL = 2.2  # inches
_PANEL_TEXT, _TITLE_TEXT = 7.0, 9.0  # points
_LINE = 1.3  # distance of two lines, in sizes of the font
_MOST_LINES = 4  # of a title above a panel
_MARGIN, _GAP = 0.06, 0.1  # inches: around the figure, and between panels
_LIFT = 0.03  # inches between a panel and the text above it
_BAR, _BAR_LENGTH, _BAR_ROOM = 0.11, 1.7, 0.8  # inches: thickness, length at most, with its numbers
_SIDE_ROOM = 1.1  # inches, at most, for the text on the left of a row
_POINTS = 72.0  # in an inch
_PARTS = re.compile(r"(?<=[./_:])")  # where a name may be broken
_Sides = tuple[float, float, float, float]


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        pixels: uint8 `(H, W, 3)` or `(H, W)`.
        title: text above it.
        signed: whether its colors are those of `diverging_colors`, with white at zero.
    """

    pixels: Tensor
    title: str = ""
    signed: bool = False


@dataclass(frozen=True)
class Scale:
    """The color bar of a figure.

    Attributes:
        colors: the color map: `diverging`, `sequential`, `gray`, or `overlay`, the signed colors
            of maps over photos.
        low: number at its lower end.
        high: number at its upper end.
        label: what the numbers are, with the unit.
    """

    colors: Literal["diverging", "sequential", "gray", "overlay"]
    low: float
    high: float
    label: str


def new_figure(figsize: tuple[float, float], **options: Any) -> "ResultFigure":
    """An empty figure, in whose constrained layout axes do not overlap.

    Args:
        figsize: width and height in inches.
        **options: further options of matplotlib's `Figure`.
    """
    from convlens.drawing.result_figure import ResultFigure  # imports matplotlib's figures

    return ResultFigure(figsize=figsize, **options)


def picture_figure(
    rows: Sequence[Sequence[Panel]],
    *,
    title: str = "",
    sides: Sequence[str] = (),
    scale: Scale | None = None,
    largest: float = _LARGEST_PANEL,
) -> "ResultFigure":
    """Arrange pictures in rows, with titles above them and one color bar on the right.

    The panels of a row have one height and keep their proportions. The figure is at most 7 inches
    wide.

    Args:
        rows: the panels of each row.
        title: text above the figure; default: none.
        sides: text on the left of each row; default: none.
        scale: the color bar; default: none.
        largest: greatest width of a panel, in inches; default 2.2.

    Raises:
        ConvlensError: there are no panels.

    Example:
        >>> import torch
        >>> gray = torch.full((32, 48, 3), 128, dtype=torch.uint8)
        >>> figure = picture_figure([[Panel(gray, "before"), Panel(gray, "after")]])
        >>> len(figure.axes)
        2
    """
    columns = max(map(len, rows), default=0)
    if not columns:
        raise ConvlensError("a figure without pictures; give at least one panel")
    side_room = _side_room(sides)
    bar_room = _BAR_ROOM if scale is not None else 0.0
    free = _WIDTH - 2 * _MARGIN - side_room - bar_room - (columns - 1) * _GAP
    cell = min(largest, free / columns)
    content = side_room + columns * cell + (columns - 1) * _GAP + bar_room
    width = max(content + 2 * _MARGIN, _LEAST_WIDTH)
    heading = _wrap(title, width - 2 * _MARGIN, _TITLE_TEXT)
    titles = [
        [_wrap(panel.title, cell, _PANEL_TEXT)[:_MOST_LINES] for panel in row] for row in rows
    ]
    above = [max(map(len, lines), default=0) * _line(_PANEL_TEXT) for lines in titles]
    heights = [max((_aspect(panel) * cell for panel in row), default=0.0) for row in rows]
    top = _MARGIN + len(heading) * _line(_TITLE_TEXT) + (_GAP if heading else 0.0)
    height = top + sum(above) + sum(heights) + (len(rows) - 1) * _GAP + _MARGIN
    if scale is not None:
        height = max(height, top + max(above[0], _GAP) + 0.9 + _MARGIN)
    figure = new_figure(figsize=(width, height), layout="none")
    page = _Page(figure, width, height)
    page.write(_MARGIN, _MARGIN, "\n".join(heading), _TITLE_TEXT)
    y = top
    for index, row in enumerate(rows):
        y += above[index]
        for column, panel in enumerate(row):
            x = _MARGIN + side_room + column * (cell + _GAP)
            page.draw(panel, x, y, cell, "\n".join(titles[index][column]))
        if index < len(sides):
            words = _wrap(sides[index], side_room - _GAP, _PANEL_TEXT)
            page.write(_MARGIN, y + heights[index] / 2, "\n".join(words), _PANEL_TEXT, "center")
        y += heights[index] + _GAP
    if scale is not None and scale.high > scale.low:
        down = top + max(above[0], _GAP)
        length = min(_BAR_LENGTH, height - down - _GAP)
        page.add_bar(scale, _MARGIN + content - bar_room + _GAP, down, length)
    return figure


def grid_figure(
    panels: Sequence[Panel], columns: int, *, title: str = "", scale: Scale | None = None,
    largest: float = _LARGEST_PANEL,
) -> "ResultFigure":  # fmt: skip
    """Arrange pictures in rows of `columns`, from the top left; see `picture_figure`."""
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    return picture_figure(rows, title=title, scale=scale, largest=largest)


class _Page:
    """Places text, pictures and a color bar on a figure, in inches from its upper left corner."""

    def __init__(self, figure: "ResultFigure", width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def write(self, x: float, y: float, text: str, size: float, align: str = "top") -> None:
        if text:
            self.figure.text(
                x / self.width, 1 - y / self.height, plot_text(text), fontsize=size, color=INK,
                ha="left", va=align, linespacing=_LINE / 1.2,
            )  # fmt: skip

    def draw(self, panel: Panel, x: float, y: float, width: float, title: str) -> None:
        high, wide = panel.pixels.shape[:2]
        axes = self.figure.add_axes(
            self._box(x, y, width, width * high / wide), label=SIGNED if panel.signed else ""
        )
        axes.imshow(panel.pixels.numpy(), aspect="auto", cmap="gray", vmin=0, vmax=255)
        axes.set_title(
            plot_text(title), loc="left", fontsize=_PANEL_TEXT, color=INK, pad=_LIFT * _POINTS,
            linespacing=_LINE / 1.2,
        )  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=LINE, linewidth=0.5)

    def add_bar(self, scale: Scale, x: float, y: float, length: float) -> None:
        from matplotlib.cm import ScalarMappable

        mappable = ScalarMappable(Normalize(scale.low, scale.high), _colormap(scale.colors))
        bar = self.figure.colorbar(
            mappable, cax=self.figure.add_axes(self._box(x, y, _BAR, length)), label=scale.label
        )
        if scale.colors == "diverging":
            bar.ax.set_label(SIGNED)
        bar.ax.tick_params(labelsize=_PANEL_TEXT, length=2, width=0.5)
        bar.ax.locator_params(nbins=5)
        bar.ax.yaxis.label.set_fontsize(_PANEL_TEXT)
        bar.outline.set_linewidth(0.5)

    def _box(self, x: float, y: float, width: float, height: float) -> _Sides:
        """Left, bottom, width and height as shares of the figure."""
        return (
            x / self.width, 1 - (y + height) / self.height,
            width / self.width, height / self.height,
        )  # fmt: skip


def _colormap(colors: str) -> Colormap:
    if colors == "overlay":
        return ListedColormap((overlay_colors(255).float() / 255).tolist())
    return {"diverging": DIVERGING, "sequential": SEQUENTIAL, "gray": GRAY}[colors]


def _side_room(sides: Sequence[str]) -> float:
    """Inches for the longest text on the left of a row."""
    lines = [line for side in sides for line in side.split("\n")]
    widest = max(map(text_width, lines), default=0) * _PANEL_TEXT / SIZE / _POINTS
    return min(_SIDE_ROOM, widest) + _GAP if widest else 0.0


def _wrap(text: str, width: float, size: float) -> list[str]:
    """Lines of a text in a width in inches."""
    room = int(width * _POINTS / size * SIZE)
    lines = []
    for line in filter(None, wrap_text(text, room)):
        lines += [line] if text_width(line) <= room else _break_name(line, room)
    return lines


def _break_name(name: str, room: int) -> list[str]:
    """A dotted name in lines of at most `room` pixels of the lettering's font."""
    lines = [""]
    for part in _PARTS.split(name):
        if lines[-1] and text_width(lines[-1] + part) > room:
            lines.append("")
        lines[-1] += part
    return [_shorten(line, room) for line in lines]


def _shorten(line: str, room: int) -> str:
    """A line of at most `room` pixels; the middle of a longer one is left out."""
    length = len(line)
    while length > 2 and text_width(short := without_middle(line, length)) > room:
        length -= 1
    return line if length == len(line) else short


def without_middle(line: str, length: int) -> str:
    """A line of at most `length` characters; the middle of a longer one is left out."""
    if length >= len(line):
        return line
    return f"{line[: -(-length // 2)]}…{line[len(line) - length // 2 :]}"


def _line(size: float) -> float:
    """Distance of two lines in inches."""
    return size * _LINE / _POINTS


def _aspect(panel: Panel) -> float:
    height, width = panel.pixels.shape[:2]
    return height / width
