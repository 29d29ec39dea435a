"""A table of effective receptive fields."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from convlens.analyses.effective_field.result import EffectiveField
    from convlens.data.photos import SkippedPath


def show_effective_field(
    result: "EffectiveField", skipped: "Sequence[SkippedPath]", out: Path, *, json: bool
) -> None:
    """Print one row for each layer, and where the pictures are."""
    for photo in skipped:
        terminal.note(f"skipped: {photo.reason}")
    if json:
        print_numbers(result)
        return
    table = terminal.table("layer", ">field", ">pixels", f">hold {percent(result.share)}", ">share")
    for layer in result.layers:
        height, width = layer.size
        table.add_row(
            layer.layer,
            f"{height}x{width}" + (" (all)" if layer.sees_whole_image else ""),
            f"{layer.area:,}",
            f"{layer.effective_area:,}",
            percent(layer.ratio, 1) if layer.effective_area else "no gradient",
        )
    terminal.show(table)
    for left_out in result.left_out:
        terminal.show(f"left out: {left_out}")
    terminal.show(
        f"field: rows and columns of the theoretical receptive field inside the image; hold "
        f"{percent(result.share)}: pixels of the smallest area with that share of the gradient, "
        f"and its share of the field; {counted(result.photos, 'photo')}"
    )
    show_index(out)
