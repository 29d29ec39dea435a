"""Prints the result of the field command."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index

if TYPE_CHECKING:
    from convlens.analyses.receptive_field.field import ReceptiveField


def show_receptive_field(result: "ReceptiveField", out: Path, *, json: bool) -> None:
    """Print the field in words, and the path of the picture."""
    if json:
        print_numbers(result)
        return
    terminal.show(result.summary())
    show_index(out)
