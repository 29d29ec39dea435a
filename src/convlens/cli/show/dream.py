"""A dream in words."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.deepdream.deepdream import Dream


def dream(found: "Dream", out: Path, *, json: bool) -> None:
    """A row an octave, what came of it, and where the pictures lie."""
    if json:
        terminal.print_json(found.to_json())
        return
    table = terminal.table(">octave", ">size", ">before", ">after", ">times")
    for number, (size, row) in enumerate(zip(found.sizes, found.objective, strict=True), start=1):
        done = row[row.isfinite()]
        if not len(done):
            continue
        table.add_row(
            str(number), terminal.pair(size), f"{done[0]:.3g}", f"{done[-1]:.3g}",
            f"{float(done[-1] / done[0]):.2f}" if done[0] > 0 else "",
        )  # fmt: skip
    terminal.out.print(table)
    parts = f"; in {found.tiles} tiles" if found.tiles > 1 else ""
    terminal.out.print(f"{found.layer}: {found.reason}{parts}", markup=False)
    terminal.out.print(found.summary(), markup=False)
    terminal.out.print(str((out / "dream.png").resolve()), markup=False)
