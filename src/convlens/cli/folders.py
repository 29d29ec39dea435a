"""What commands say about the folder that they wrote: the command line, the index, the numbers."""

import shlex
import sys
from pathlib import Path
from typing import Any

from convlens.cli import terminal

# Options that do not change the result.
_LEFT_OUT = ("--json", "--overwrite", "--quiet", "--resume")


def command_line() -> str:
    """The command line that computes the result of this one, as a shell takes it."""
    return shlex.join(["convlens", *(word for word in sys.argv[1:] if word not in _LEFT_OUT)])


def print_numbers(result: Any) -> None:
    """Print the numbers of a `Result` as JSON, as its folder holds them."""
    from convlens.results.numbers import numbers_of

    terminal.print_json(numbers_of(result, command=command_line()))


def show_index(out: Path) -> None:
    """Print the path of the index of a folder."""
    from convlens.results.index import INDEX

    terminal.show(str((out / INDEX).resolve()))
