"""Answers of cells in words."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.cortex.cortex import Cortex
    from convlens.analyses.orientation_tuning.orientation_tuning import OrientationTuning


def tuning(found: "OrientationTuning", out: Path, *, json: bool) -> None:
    """A row a channel, the counts, and where the picture lies."""
    simple, complex_, silent = found.counts()
    if json:
        terminal.print_json(found.to_json())
        return
    table = terminal.table(
        ">channel", ">orientation", ">± at half", ">cycles/pixel", ">octaves", ">selectivity",
        ">F1/F0", "kind",
    )  # fmt: skip
    columns = zip(
        found.preferred_orientation.tolist(), found.orientation_bandwidth.tolist(),
        found.preferred_frequency.tolist(), found.frequency_bandwidth.tolist(),
        found.selectivity.tolist(), found.modulation.tolist(), strict=True,
    )  # fmt: skip
    for channel, (angle, width, frequency, octaves, selective, ratio) in enumerate(columns):
        if found.silent[channel]:
            table.add_row(str(channel), *[""] * 6, "silent")
            continue
        table.add_row(
            str(channel), f"{angle:.0f}°", _known(width, ".0f", "°"), f"{frequency:.3f}",
            _known(octaves, ".1f"), f"{selective:.2f}", f"{ratio:.2f}",
            "simple" if ratio > 1 else "complex",
        )  # fmt: skip
    terminal.out.print(table)
    terminal.out.print(
        f"{found.layer} ({found.node_name}): {simple} simple, {complex_} complex, {silent} silent; "
        f"{found.responses[0].numel()} gratings of {found.size[0]} x {found.size[1]} pixels, the "
        f"unit in the middle sees {terminal.pair(found.field)}",
        markup=False,
    )
    terminal.out.print(str((out / "tuning.png").resolve()), markup=False)


def cortex(found: "Cortex", out: Path, *, json: bool) -> None:
    """How strongly the cells of each orientation answer, and where the pictures lie."""
    if json:
        terminal.print_json(found.to_json())
        return
    table = terminal.table(">orientation", ">mean answer of complex cells")
    for degrees, answers in zip(found.orientations, found.complex, strict=True):
        table.add_row(f"{degrees:g}°", f"{answers.mean():.4f}")
    terminal.out.print(table)
    terminal.out.print(
        "orientation of the bars, counter-clockwise from horizontal as one looks at the picture",
        markup=False,
    )
    terminal.out.print(str(out.resolve()), markup=False)


def _known(value: float, form: str, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{form}}{unit}"
