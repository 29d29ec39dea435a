"""Prints the result of the patches command: a row for each layer."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.models.labels import class_name
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from convlens.analyses.patches.result import Patches


def show_patches(result: "Patches", out: Path, *, json: bool) -> None:
    """Print a row for each layer, and the folder that holds the pictures."""
    for reason in result.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        print_numbers(result)
        return
    has_labels = any(len(layer.selectivity) for layer in result.layers)
    table = terminal.table(
        "layer", "read at", ">channels", ">dead", ">maps", ">sees", ">fires on",
        *((">most selective", "for") if has_labels else ()), "crops run again",
    )  # fmt: skip
    for layer in result.layers:
        fired = float(layer.images_fired.double().mean()) / max(1, result.images_read)
        row = [
            layer.layer,
            layer.node_name,
            str(layer.channels),
            str(len(layer.dead)) if layer.post else "–",
            terminal.format_pair(layer.map_size),
            (terminal.format_pair(layer.field_size) or "varies")
            + ("+" if layer.sees_whole_image else ""),
            percent(fired),
        ]
        if has_labels:
            best = int(layer.selectivity.nan_to_num(0).argmax())
            name = class_name(result.labels, int(layer.preferred_class[best]))
            row += [f"{layer.layer}:{best}  {layer.selectivity[best]:.3f}", name]
        table.add_row(*row, layer.crop_check.short_summary())
    terminal.show(table)
    for left_out in result.left_out:
        terminal.show(f"left out: {left_out}")
    terminal.show(
        f"{counted(result.images_read, 'photo')}; dead: above 0 at no position of "
        f"any photo (– without a non-linearity); sees: rows and columns of the image, + the whole "
        f"image besides; crops run again: crops of the receptive field have the same activation "
        f"alone"
    )
    show_index(out)
