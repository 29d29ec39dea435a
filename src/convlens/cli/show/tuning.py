"""Prints the result of the tuning command."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index

if TYPE_CHECKING:
    from convlens.analyses.orientation_tuning.result import OrientationTuning


def show_tuning(result: "OrientationTuning", out: Path, *, json: bool) -> None:
    """Print a row for each channel, the number of each kind, and the path of the picture."""
    simple, complex_, silent = result.counts()
    if json:
        print_numbers(result)
        return
    table = terminal.table(
        ">channel", ">orientation", ">± at half", ">cycles/pixel", ">octaves", ">selectivity",
        ">F1/F0", "kind",
    )  # fmt: skip
    columns = zip(
        result.preferred_orientation.tolist(), result.orientation_bandwidth.tolist(),
        result.preferred_frequency.tolist(), result.frequency_bandwidth.tolist(),
        result.selectivity.tolist(), result.modulation.tolist(), strict=True,
    )  # fmt: skip
    for channel, (angle, width, frequency, octaves, selectivity, ratio) in enumerate(columns):
        if result.silent[channel]:
            table.add_row(str(channel), *[""] * 6, "silent")
            continue
        table.add_row(
            str(channel), f"{angle:.0f}°", _format_unless_nan(width, ".0f", "°"),
            f"{frequency:.3f}", _format_unless_nan(octaves, ".1f"), f"{selectivity:.2f}",
            f"{ratio:.2f}", "simple" if ratio > 1 else "complex",
        )  # fmt: skip
    terminal.show(table)
    terminal.show(
        f"{result.layer} ({result.node_name}): {simple} simple, {complex_} complex, {silent} "
        f"silent; {result.responses[0].numel()} gratings of {result.size[0]} x {result.size[1]} "
        f"pixels, the unit in the middle sees {terminal.format_pair(result.field)}"
    )
    show_index(out)


def _format_unless_nan(value: float, format_spec: str, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{format_spec}}{unit}"
