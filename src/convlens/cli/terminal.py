"""The terminal: results on standard output, progress on standard error.

Text from outside is escaped here, in `show`, `note`, `table` and `print_json`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from convlens.text import json_text, printable


class _Output(Console):
    """Standard output, whose errors end the command."""

    def on_broken_pipe(self) -> None:
        """Raise the error; rich would end the process without a word."""
        raise  # noqa: PLE0704 # rich calls this while it handles the error


# Names may look like markup ([final]) or emoji codes (:cat:), so that neither is interpreted.
_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
# Wider than any table: what does not fit a terminal wraps there, and nothing is cut off.
_out = _Output(width=10_000, **_PLAIN)
_err = Console(stderr=True, soft_wrap=True, **_PLAIN)

ProgressFunction = Callable[[str, int, int], None]


class _Rate(ProgressColumn):
    """Items per second, once that is known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class PlainTable(Table):
    """A table whose cells are text from outside."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; text is made printable."""
        super().add_row(
            *(printable(cell) if isinstance(cell, str) else cell for cell in cells), **options
        )


def show(*lines: str | Table) -> None:
    """Print results on standard output: each text on a line of its own, and tables."""
    for line in lines:
        _out.print(printable(line) if isinstance(line, str) else line)


def note(line: str) -> None:
    """Print a remark about the results on standard error, if that is possible."""
    with suppress(OSError):
        _err.print(printable(line))


@contextmanager
def progress(*, quiet: bool) -> Iterator[ProgressFunction]:
    """Show progress bars on standard error; yields a function of (stage, done, total)."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate(),
        TimeRemainingColumn(),
    )  # fmt: skip
    hidden = quiet or not _err.is_terminal  # a bar in a file would be noise
    with Progress(*columns, console=_err, transient=True, disable=hidden) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


@contextmanager
def waiting(what: str, *, quiet: bool) -> Iterator[None]:
    """Show a spinner on standard error while something of unknown length runs."""
    if quiet:
        yield
        return
    with _err.status(Text(printable(what))):
        yield


def printer(*, quiet: bool) -> Callable[[str], None]:
    """A function that prints a sentence on standard error, or nothing if `quiet`."""
    if quiet:
        return lambda sentence: None
    return note


def table(*columns: str) -> PlainTable:
    """A table without frames; a column whose name begins with > is aligned to the right."""
    table = PlainTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify = "right" if column.startswith(">") else "left"
        table.add_column(printable(column.removeprefix(">")), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    return table


def pair(sides: tuple[int, int] | None) -> str:
    """`3` for 3 x 3, `3x5` for 3 x 5, nothing for None."""
    if sides is None:
        return ""
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"


def print_json(data: Any) -> None:
    """Print plain data, or text that is JSON already, on standard output."""
    text = data if isinstance(data, str) else json_text(data)
    # Not through the console, which would wrap lines.
    print(text, end="")
