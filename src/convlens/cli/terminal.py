"""The terminal: results on standard output, progress on standard error."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

# Wider than any table: what does not fit a terminal wraps there, and nothing is cut off.
out = Console(highlight=False, width=10_000)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ProgressFunction = Callable[[str, int, int], None]


class _Rate(ProgressColumn):
    """Items per second, once that is known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextmanager
def progress(*, quiet: bool) -> Iterator[ProgressFunction]:
    """Show progress bars on standard error; yields a function of (stage, done, total)."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(),
        TimeRemainingColumn(),
    )  # fmt: skip
    hidden = quiet or not err.is_terminal  # a bar in a file would be noise
    with Progress(*columns, console=err, transient=True, disable=hidden) as bars:
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
    with err.status(what):
        yield


def printer(*, quiet: bool) -> Callable[[str], None]:
    """A function that prints a sentence on standard error, or nothing if `quiet`."""
    if quiet:
        return lambda sentence: None
    return lambda sentence: err.print(sentence, markup=False)


def table(*columns: str) -> Table:
    """A table without frames; a column whose name begins with > is aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify = "right" if column.startswith(">") else "left"
        table.add_column(column.lstrip(">"), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    return table


def pair(sides: tuple[int, int] | None) -> str:
    """`3` for 3 x 3, `3x5` for 3 x 5, nothing for None."""
    if sides is None:
        return ""
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"


def dump(data: Any) -> str:
    """Plain data as JSON, indented for people."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def print_json(data: Any) -> None:
    """Print plain data, or text that is JSON already, on standard output."""
    text = data if isinstance(data, str) else dump(data)
    # Not through the console, which would wrap lines.
    print(text, end="")
