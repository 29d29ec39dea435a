"""What is made of Grad-CAMs when all are there: a table, and their numbers."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from convlens.analyses.gradcam.boxes import Box
from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion
from convlens.analyses.gradcam.pointing_game import pointing_game
from convlens.analyses.gradcam.result import GradCam, GradCamLayers
from convlens.results import Result

NUMBERS = "numbers.json"
SCORES = "scores.csv"


def finish(
    folder: Path,
    photos: Sequence[tuple[str, int]],
    skipped: Mapping[str, str],
    *,
    boxes: Callable[[int], tuple[Box, ...]] | None,
    curves: bool,
    progress: Callable[[int, int], None],
) -> tuple[float, ...]:
    """Table and numbers of the photos whose maps lie in a folder, one after the other.

    Args:
        folder: where they lie.
        photos: name of each photo's folder, and its number.
        skipped: reason by path of the photos that could not be read, for the numbers.
        boxes: the objects on the image of a photo, by its number; default: none are known.
        curves: evidence lies beside the maps.
        progress: called with how many photos are done and how many there are.

    Returns:
        The sums of the pointing game over the first layer's maps, as `PointingGame.sums`.
    """
    sums = torch.zeros(5, dtype=torch.float64)
    with (
        (folder / SCORES).open("w", encoding="utf-8", newline="") as table,
        (folder / NUMBERS).open("w", encoding="utf-8") as numbers,
    ):
        rows: csv.DictWriter[str] | None = None
        numbers.write('{"photos": {')
        for done, (name, number) in enumerate(photos):
            progress(done, len(photos))
            result = Result.load(folder / name)
            assert isinstance(result, (GradCam, GradCamLayers))
            mine = boxes(number) if boxes else ()
            cams = result.cams if isinstance(result, GradCamLayers) else (result,)
            for layer, cam in enumerate(cams):
                pointed = pointing_game(cam, [mine]) if boxes else None
                if pointed is not None and layer == 0:
                    sums += torch.tensor(pointed.sums(), dtype=torch.float64)
                for rank in range(len(cam.names[0])):
                    proof = None
                    if curves:
                        at = curves_at(folder / name, layer, rank, len(cams))
                        proof = DeletionInsertion.load(at)
                    row = _row(name, cam, rank) | _areas(proof)
                    if pointed is not None:
                        row |= {
                            "hit": int(pointed.hits[0, rank]) if pointed.boxed[0, rank] else "",
                            "energy": _number(pointed.energy[0, rank]),
                            "box_area": _number(pointed.area[0, rank]),
                        }
                    if rows is None:
                        rows = csv.DictWriter(table, list(row))
                        rows.writeheader()
                    rows.writerow(row)
            _entry(numbers, name, result, first=done == 0)
        left = json.dumps(dict(skipped), indent=1, ensure_ascii=False)
        numbers.write(f'\n}},\n"skipped": {left}\n}}\n')
    progress(len(photos), len(photos))
    return tuple(sums.tolist())


def _row(name: str, cam: GradCam, rank: int) -> dict[str, Any]:
    peak = cam.statistics(0, rank)
    return {
        "photo": name, "class": cam.names[0][rank], "layer": ", ".join(cam.layer),
        "logit": _number(cam.scores[0, rank]), "probability": _number(cam.probabilities[0, rank]),
        "least": _number(peak.low), "greatest": _number(peak.high), "row": peak.row,
        "column": peak.column, "positive": peak.positive, "cells": peak.cells,
    }  # fmt: skip


def _areas(proof: DeletionInsertion | None) -> dict[str, str]:
    if proof is None:
        return {}
    return {
        f"{kind}{order}": _number(areas[0, which])
        for kind, areas in (
            ("deletion", proof.deletion_areas), ("insertion", proof.insertion_areas),
        )
        for which, order in enumerate(("", "_random", "_center"))
    }  # fmt: skip


def _number(value: Tensor | float) -> str:
    """With all digits of a float32; nothing for NaN."""
    number = float(value)
    return "" if number != number else f"{number:.9g}"  # noqa: PLR0124 # NaN alone differs


def _entry(file: TextIO, name: str, result: Result, *, first: bool) -> None:
    text = json.dumps(result.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    file.write(f"{'' if first else ','}\n{json.dumps(name, ensure_ascii=False)}: {text}")


def curves_at(folder: Path, layer: int, rank: int, layers: int) -> Path:
    """Where the evidence of one map lies in a photo's folder."""
    return folder / (f"evidence-{layer + 1}-{rank + 1}" if layers > 1 else f"evidence-{rank + 1}")
