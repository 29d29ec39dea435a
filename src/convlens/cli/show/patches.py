"""Prints the result of the patches command: a row for each layer."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convlens.cli import terminal
from convlens.models.labels import class_name
from convlens.wording import counted

if TYPE_CHECKING:
    from convlens.analyses.patches.result import LayerPatches, Patches


def show_patches(result: "Patches", out: Path, *, json: bool) -> None:
    """Print a row for each layer, and the folder that holds the pictures."""
    for reason in result.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        terminal.print_json(_numbers(result))
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
            terminal.pair(layer.map_size),
            (terminal.pair(layer.field_size) or "varies") + ("+" if layer.sees_whole_image else ""),
            f"{fired:.0%}",
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
    terminal.show(str(out.resolve()))


def _numbers(result: "Patches") -> dict[str, Any]:
    """The result as plain data, with the patches of the channels that are shown."""
    data = result.to_json()
    del data["photos"], data["labels"]  # those that matter stand beside each channel
    for plain, layer in zip(data["layers"], result.layers, strict=True):
        plain["shown"] = [
            {
                "channel": shown.channel,
                "activations": list(shown.values),
                "photos": list(shown.photos),
                "boxes": shown.boxes.tolist(),
                "images_fired": int(layer.images_fired[shown.channel]),
                "positions_fired": int(layer.positions_fired[shown.channel]),
                **_selectivity(result, layer, shown.channel),
            }
            for shown in layer.shown
        ]
    return data


def _selectivity(result: "Patches", layer: "LayerPatches", channel: int) -> dict[str, Any]:
    if not len(layer.selectivity):
        return {}
    area = float(layer.selectivity[channel])
    return {
        "class": class_name(result.labels, int(layer.preferred_class[channel])),
        "selectivity": None if math.isnan(area) else area,
    }
