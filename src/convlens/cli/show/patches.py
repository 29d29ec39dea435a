"""Patches in words."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convlens.cli import terminal
from convlens.models.labels import class_name

if TYPE_CHECKING:
    from convlens.analyses.patches.result import LayerPatches, Patches


def patches(found: "Patches", out: Path, *, json: bool) -> None:
    """A row a layer, and where the pictures lie."""
    for reason in found.skipped:
        terminal.err.print(f"left out: {reason}", markup=False)
    if json:
        terminal.print_json(_numbers(found))
        return
    selective = any(len(one.selectivity) for one in found.layers)
    table = terminal.table(
        "layer", "looked at", ">channels", ">dead", ">maps", ">sees", ">fires on",
        *((">most selective", "for") if selective else ()), "proof",
    )  # fmt: skip
    for one in found.layers:
        share = float(one.images_fired.double().mean()) / max(1, found.seen)
        row = [
            one.layer,
            one.node_name,
            str(one.channels),
            str(len(one.dead)) if one.post else "–",
            terminal.pair(one.maps),
        ]
        row += [
            (terminal.pair(one.field) or "varies") + ("+" if one.beyond else ""),
            f"{share:.0%}",
        ]
        if selective:
            best = int(one.selectivity.nan_to_num(0).argmax())
            name = class_name(found.labels, int(one.preferred[best]))
            row += [f"{one.layer}:{best}  {one.selectivity[best]:.3f}", name]
        table.add_row(*row, one.crop_check.brief())
    terminal.out.print(table)
    terminal.out.print(
        f"{found.seen:,} photo{'s' if found.seen != 1 else ''}; dead: above 0 at no position of "
        f"any of them (– without a non-linearity); sees: rows and columns of the image, + the "
        f"whole image besides; proof: crops of the receptive field, run again alone, with the "
        f"same activation",
        markup=False,
    )
    terminal.out.print(str(out.resolve()), markup=False)


def _numbers(found: "Patches") -> dict[str, Any]:
    """The result as plain data, with the patches of the channels that are shown spelt out."""
    data = found.to_json()
    del data["photos"], data["labels"]  # those that matter stand beside each channel
    for plain, layer in zip(data["layers"], found.layers, strict=True):
        plain["shown"] = [
            {
                "channel": one.channel,
                "activations": list(one.values),
                "photos": list(one.photos),
                "boxes": one.boxes.tolist(),
                "images_fired": int(layer.images_fired[one.channel]),
                "positions_fired": int(layer.positions_fired[one.channel]),
                **_selectivity(found, layer, one.channel),
            }
            for one in layer.shown
        ]
    return data


def _selectivity(found: "Patches", layer: "LayerPatches", channel: int) -> dict[str, Any]:
    if not len(layer.selectivity):
        return {}
    area = float(layer.selectivity[channel])
    return {
        "class": class_name(found.labels, int(layer.preferred[channel])),
        "selectivity": None if math.isnan(area) else area,
    }
