"""What images that maximize something reach, in words."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.maximize.result import MaximizedImages


def maximize(found: "MaximizedImages", out: Path, *, json: bool) -> None:
    """A row a target, and where the pictures lie."""
    if found.stopped:
        terminal.err.print(f"{found.stopped}; what there was by then is kept", markup=False)
    if json:
        terminal.print_json(found.to_json())
        return
    table = terminal.table("target", "reported at", ">pixels", "")
    for one in found.maxima:
        table.add_row(
            one.target, one.node_name, terminal.pair((one.images.shape[2], one.images.shape[3])),
            one.summary(),
        )  # fmt: skip
    terminal.out.print(table)
    terminal.out.print(str((out / "maximized.png").resolve()), markup=False)
