"""Tables on a terminal: no wider than it is, with long text folded and many columns in parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.table import Table

from convlens.text import printable

_GAP = 2  # spaces between columns
# Characters of a column of text whose cells are folded; of the first column, which names the rows.
_NARROWEST, _NARROWEST_NAMES = 14, 30


@dataclass
class _Column:
    """A column of a table.

    Attributes:
        header: the name of the column.
        is_number: whether the cells are numbers, which are never folded.
        narrowest: the least width of a column of longer text, in characters.
        cells: the cells.
    """

    header: str
    is_number: bool
    narrowest: int
    cells: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.header, *self.cells)))

    @property
    def least_width(self) -> int:
        return self.width if self.is_number else min(self.width, self.narrowest)


class TextTable:
    """A table of text from outside, which is made printable.

    Example:
        >>> table = TextTable("layer", ">channels")
        >>> table.add_row("conv1", "64")
        >>> table.row_count
        1
    """

    def __init__(self, *headers: str) -> None:
        """Make an empty table.

        Args:
            *headers: names of the columns. A name that begins with > is that of a column of
                numbers, which is aligned to the right.
        """
        self._columns = [
            _Column(
                printable(header.removeprefix(">")),
                header.startswith(">"),
                _NARROWEST if number else _NARROWEST_NAMES,
            )
            for number, header in enumerate(headers)
        ]

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self._columns[0].cells)

    def add_row(self, *cells: str) -> None:
        """Add a row with a cell for each column."""
        for column, cell in zip(self._columns, cells, strict=True):
            column.cells.append(printable(cell))

    def fit(self, width: int) -> list[Table]:
        """The table in as many parts as it needs, one below the other.

        Columns of text are folded first. If the columns still do not fit beside one another, each
        part has some of them, and begins with the first column.

        Args:
            width: greatest width in characters.
        """
        return [_render(columns, width) for columns in self._split(width)]

    def _split(self, width: int) -> Iterator[list[_Column]]:
        first, *others = self._columns
        part = [first]
        for column in others:
            widths = [each.least_width for each in (*part, column)]
            if len(part) > 1 and _total(widths) > width:
                yield part
                part = [first]
            part.append(column)
        yield part


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _render(columns: Sequence[_Column], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, column_width in zip(columns, _choose_widths(columns, width), strict=True):
        table.add_column(
            column.header,
            justify="right" if column.is_number else "left",
            width=column_width,
            overflow="fold",
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _choose_widths(columns: Sequence[_Column], width: int) -> list[int]:
    """The width of each column: columns of text share what the numbers leave."""
    widths = [column.width for column in columns]
    texts = [number for number, column in enumerate(columns) if not column.is_number]
    while _total(widths) > width and texts:
        # The widest column of text gets narrower, until all fit or are as narrow as they may be.
        widest = max(texts, key=lambda number: widths[number] - columns[number].least_width)
        if widths[widest] == columns[widest].least_width:
            break
        widths[widest] -= 1
    return widths
