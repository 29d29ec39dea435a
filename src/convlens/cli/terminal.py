"""The terminal: results on standard output, progress on standard error.

Text from outside is escaped here, in `show`, `note`, `table` and `print_json`.
"""

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
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
from rich.text import Text

from convlens.cli.tables import TextTable
from convlens.runtime.garbage import collect_as_usual
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

_SECONDS_BETWEEN_LINES = 10.0  # of progress in a file
_WIDTH, _LEAST_WIDTH = 80, 40  # of a table, in characters

ProgressFunction = Callable[[str, int, int], None]


class _Rate(ProgressColumn):
    """Items per second, once that is known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def show(*lines: str | TextTable) -> None:
    """Print results on standard output: each text on a line of its own, and tables.

    Tables are as wide as the terminal at most, and in a file 80 characters.
    """
    for line in lines:
        if isinstance(line, str):
            _out.print(printable(line))
            continue
        width = _table_width()
        for number, part in enumerate(line.fit(width)):
            if number:
                _out.print()
            _out.print(part, width=width)


def _table_width() -> int:
    """The width of the terminal in characters, also as the environment states it; else 80."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return _WIDTH
    return max(_LEAST_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)


def note(line: str) -> None:
    """Print a remark about the results on standard error, if that is possible."""
    with suppress(OSError):
        _err.print(printable(line))


class _Notes(logging.Handler):
    """Prints what the library logs as remarks."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


_NOTES = _Notes()


def show_log() -> None:
    """Print what the library logs as information from now on."""
    logger = logging.getLogger("convlens")
    logger.addHandler(_NOTES)
    logger.setLevel(logging.INFO)


@contextmanager
def progress(*, quiet: bool) -> Iterator[ProgressFunction]:
    """Show progress on standard error; yields a function of (stage, done, total).

    A terminal shows bars. A file or a pipe gets a line now and then.
    """
    collect_as_usual()  # long work begins
    if quiet or not _err.is_terminal:
        yield _ignore_progress if quiet else _ProgressLines()
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=_err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


def _ignore_progress(stage: str, done: int, total: int) -> None:
    """Progress that is not shown."""


class _ProgressLines:
    """Progress as lines of text, the first after some seconds."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._shown = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Print a line if the last one is some seconds old."""
        now = time.monotonic()
        started = self._started.setdefault(stage, now)
        if now - self._shown < _SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        line = f"{stage}: {done:,} of {total:,}"
        if done and (passed := now - started) > 1:
            left = round(passed / done * (total - done))
            line += f", {done / passed:.1f}/s, about {timedelta(seconds=left)} left"
        note(line)


@contextmanager
def waiting(activity: str, *, quiet: bool) -> Iterator[None]:
    """Show a spinner on standard error while something of unknown length runs."""
    if quiet or not _err.is_terminal:
        # A file gets a line only if the user would otherwise wonder what goes on.
        timer = threading.Timer(_SECONDS_BETWEEN_LINES, note, (activity,))
        timer.daemon = True
        if not quiet:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
        return
    with _err.status(Text(printable(activity))):
        yield


def printer(*, quiet: bool) -> Callable[[str], None]:
    """A function that prints a sentence on standard error, or nothing if `quiet`."""
    if quiet:
        return lambda sentence: None
    return note


def table(*columns: str) -> TextTable:
    """A table without frames; a column whose name begins with > is aligned to the right."""
    return TextTable(*columns)


def format_pair(sides: tuple[int, int] | None) -> str:
    """`3` for 3 x 3, `3x5` for 3 x 5, nothing for None."""
    if sides is None:
        return ""
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"


def print_json(data: Any) -> None:
    """Print plain data, or text that is JSON already, on standard output."""
    text = data if isinstance(data, str) else json_text(data)
    # Not through the console, which would wrap lines.
    print(text, end="")
