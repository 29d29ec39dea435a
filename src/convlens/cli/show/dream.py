"""Prints the result of the dream command."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index

if TYPE_CHECKING:
    from convlens.analyses.deepdream.result import Dream


def show_dream(result: "Dream", out: Path, *, json: bool) -> None:
    """Print a row for each octave, the rise of the objective, and the path of the picture."""
    if json:
        print_numbers(result)
        return
    table = terminal.table(">octave", ">size", ">before", ">after", ">times")
    for number, (size, objective) in enumerate(
        zip(result.sizes, result.objective, strict=True), start=1
    ):
        values = objective[objective.isfinite()]
        if not len(values):
            continue
        table.add_row(
            str(number), terminal.format_pair(size), f"{values[0]:.3g}", f"{values[-1]:.3g}",
            f"{float(values[-1] / values[0]):.2f}" if values[0] > 0 else "",
        )  # fmt: skip
    terminal.show(table)
    tiles = f"; in {result.tiles} tiles" if result.tiles > 1 else ""
    terminal.show(f"{result.layer}: {result.reason}{tiles}")
    for left_out in result.left_out:
        terminal.show(f"left out: {left_out}")
    terminal.show(result.summary())
    show_index(out)
