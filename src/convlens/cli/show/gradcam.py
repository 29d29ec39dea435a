"""Grad-CAMs of photos as a table."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.gradcam.dataset_pass import GradCams

_ROWS = 200  # in the terminal; the file has all


def gradcams(found: "GradCams", out: Path, *, json: bool, channels: int = 0) -> None:
    """A row for each photo, class and layer, and what they have in common."""
    for reason in found.skipped.values():
        terminal.err.print(f"left out: {reason}", markup=False)
    if json:
        with found.numbers.open(encoding="utf-8") as lines:
            for line in lines:
                print(line, end="")
        return
    _table(found)
    if channels:
        _channels(found, channels)
    for sentence in found.sentences():
        terminal.out.print(sentence, markup=False)
    terminal.out.print(str(out.resolve()), markup=False)


def _table(found: "GradCams") -> None:
    several = len(found.layers) > 1
    with found.scores.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        names = rows.fieldnames or ()
        evidence, boxes = "deletion" in names, "hit" in names
        table = terminal.table(
            "photo", "class", *(("layer",) if several else ()), ">logit", ">probability", ">least",
            ">greatest",
            *((">deletion", ">insertion", "beats random and center") if evidence else ()),
            *(("in the box", ">energy") if boxes else ()),
        )  # fmt: skip
        more = 0
        for number, row in enumerate(rows):
            if number >= _ROWS:
                more += 1
                continue
            positive = float(row["greatest"]) > 0
            cells = [row["photo"], row["class"], *([row["layer"]] if several else [])]
            cells += [f"{float(row['logit']):.2f}", _form(row["probability"], ".3f")]
            cells += [_form(row["least"], ".3g")]
            cells += [_form(row["greatest"], ".3g") if positive else "nothing speaks for it"]
            if evidence:
                cells += [_form(row[kind], ".2f") for kind in ("deletion", "insertion")]
                cells.append(_beats(row))
            if boxes:
                cells += [{"1": "yes", "0": "no", "": "no box"}[row["hit"]]]
                cells += [_form(row["energy"], ".0%")]
            table.add_row(*cells)
    terminal.out.print(table, markup=False)
    if more:
        terminal.out.print(f"and {more:,} rows more in {found.scores}", markup=False)


def _form(text: str, form: str) -> str:
    return f"{float(text):{form}}" if text else ""


def _beats(row: dict[str, str]) -> str:
    import torch

    from convlens.analyses.gradcam.deletion_insertion import beats

    won = [
        kind
        for kind, sign in (("deletion", -1), ("insertion", 1))
        if beats(
            sign * torch.tensor([[float(row[f"{kind}{of}"]) for of in ("", "_random", "_center")]])
        )
    ]
    return "both" if len(won) == 2 else won[0] if won else "no"


def _channels(found: "GradCams", top: int) -> None:
    """The channels that add most to each map, for the photos whose rows are shown."""
    from convlens.analyses.gradcam.result import GradCam

    table = terminal.table("photo", "class", "channels that add most, with their share")
    for photo in found.photos[:_ROWS]:
        result = found[photo]
        for cam in (result,) if isinstance(result, GradCam) else result.cams:
            for rank, name in enumerate(cam.names[0]):
                shares = [
                    f"{one.address} {one.share:.0%}" for one in cam.channels(0, rank, top=top)
                ]
                table.add_row(photo, name, "  ".join(shares) or "nothing speaks for it")
    terminal.out.print(table, markup=False)
