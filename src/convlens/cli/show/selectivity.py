"""A table of channels, with their invariance and their selectivity."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.wording import counted

if TYPE_CHECKING:
    from convlens.analyses.invariance.invariance import Invariance


def show_channels(measured: "Invariance", out: Path, *, json: bool, most: int = 20) -> None:
    """Print a row for each channel, the one most like a grandmother cell first."""
    for reason in measured.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        print_numbers(measured)
        return
    labeled = bool(len(measured.selectivity))
    table = terminal.table(
        "channel", *(("class", ">selectivity") if labeled else ()), ">place", ">scale", ">light",
        ">any photo", *((">grandmother",) if labeled else ()),
    )  # fmt: skip
    shares = [measured.remaining(kind) for kind in ("place", "scale", "light")]
    for row in measured.rank_channels()[:most]:
        cells = [f"{measured.layer}:{int(measured.channels[row])}"]
        if labeled:
            cells += [measured.names[row], f"{measured.selectivity[row]:.3f}"]
        cells += [f"{share[row]:.2f}" for share in shares] + [f"{measured.typical[row]:.2f}"]
        if labeled:
            cells.append(f"{measured.grandmother_score[row]:.2f}")
        table.add_row(*cells)
    terminal.show(table)
    explanation = (
        f"{counted(len(measured.channels), 'channel')} of {measured.node_name}, "
        f"{counted(measured.images, 'photo')}. Place, scale, light: the share of the greatest "
        f"activation that remains, over the {measured.top} photos that activate the channel "
        f"most. Any photo: the share that another photo gives."
    )
    if labeled:
        explanation += (
            " Selectivity: the area under the ROC curve of the class, chosen on these photos. "
            "Grandmother: the least of the four, with selectivity as 2 AUC - 1."
        )
    terminal.show(explanation)
    show_index(out)
