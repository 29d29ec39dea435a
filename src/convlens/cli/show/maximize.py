"""Prints the result of the maximize command."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index

if TYPE_CHECKING:
    from convlens.analyses.maximize.result import MaximizedImages


def show_maximized_images(result: "MaximizedImages", out: Path, *, json: bool) -> None:
    """Print a row for each objective, and the path of the picture."""
    if result.stopped:
        terminal.note(f"{result.stopped}; the images up to then are kept")
    if json:
        print_numbers(result)
        return
    table = terminal.table("objective", "reported at", ">pixels", "")
    for maximum in result.maxima:
        height, width = maximum.images.shape[2:]
        table.add_row(
            maximum.objective,
            maximum.node_name,
            terminal.format_pair((height, width)),
            maximum.summary(),
        )
    terminal.show(table)
    show_index(out)
