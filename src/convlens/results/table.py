"""A small table of the numbers of a result, as text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"[−+±<≥≤]?\d")  # how a cell with a number begins
_MINUS = re.compile(r"(?<!\S)-(?=\d)")


@dataclass(frozen=True)
class Table:
    """A small table, as text.

    Attributes:
        heads: the names of the columns.
        rows: the rows that are shown, each with a cell for each column.
        total: number of all rows, shown or not.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int

    @classmethod
    def of(
        cls,
        heads: Sequence[str],
        rows: Iterable[Sequence[str]],
        most: int = 10,
        total: int | None = None,
    ) -> "Table":
        """A table of the first rows.

        Args:
            heads: the names of the columns.
            rows: the rows; hyphens in front of numbers become minus signs.
            most: greatest number of rows that are shown; default 10.
            total: number of rows that there are; default: those given.

        Example:
            >>> table = Table.of(["layer", "channels"], [["conv1", "64"], ["conv2", "128"]], most=1)
            >>> table.rows, table.total
            ((('conv1', '64'),), 2)
        """
        every_row = [tuple(_MINUS.sub("\N{MINUS SIGN}", cell) for cell in row) for row in rows]
        count = len(every_row) if total is None else total
        return cls(tuple(heads), tuple(every_row[:most]), count)

    def without_empty_columns(self) -> "Table":
        """The table without the columns of which no cell that is shown has text.

        Example:
            >>> Table.of(["layer", "accuracy"], [["conv1", ""]]).without_empty_columns().heads
            ('layer',)
        """
        filled = [at for at in range(len(self.heads)) if any(row[at] for row in self.rows)]
        return Table(
            tuple(self.heads[at] for at in filled),
            tuple(tuple(row[at] for at in filled) for row in self.rows),
            self.total,
        )

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column whether all of its cells are numbers or empty."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.heads)
        return tuple(
            any(cells) and all(not cell or _NUMBER.match(cell) is not None for cell in cells)
            for cells in columns
        )
