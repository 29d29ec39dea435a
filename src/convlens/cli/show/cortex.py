"""Prints the result of the cortex command."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index

if TYPE_CHECKING:
    from convlens.analyses.cortex.cortex import Cortex


def show_cortex(result: "Cortex", out: Path, *, json: bool) -> None:
    """Print the mean response for each orientation, and the path of the pictures."""
    if json:
        print_numbers(result)
        return
    table = terminal.table(">orientation", ">mean response of complex cells")
    for degrees, responses in zip(result.orientations, result.complex, strict=True):
        table.add_row(f"{degrees:g}°", f"{responses.mean():.4f}")
    terminal.show(table)
    terminal.show("orientation of the bars, counter-clockwise from horizontal in the picture")
    show_index(out)
