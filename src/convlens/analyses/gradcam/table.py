"""scores.csv and numbers.json: the numbers of all maps that a Grad-CAM pass has written."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion
from convlens.analyses.gradcam.layers_result import GradCamLayers
from convlens.analyses.gradcam.pointing_game import PointingGame, PointingTotals, pointing_game
from convlens.analyses.gradcam.result import GradCam
from convlens.files import NUMBERS
from convlens.results import Result
from convlens.text import csv_text, json_text, printable, read_csv_text

SCORES = "scores.csv"
_TEXT_COLUMNS = ("photo", "class", "layer")


def write_tables(
    folder: Path,
    photos: Sequence[tuple[str, int]],
    *,
    boxes: Callable[[int], tuple[ObjectBox, ...]] | None,
    has_curves: bool,
    header: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> PointingTotals:
    """Write both tables from the saved maps, one photo at a time.

    numbers.json has no closing brace: `finish_folder` writes the numbers of all photos together.

    Args:
        folder: the folder that holds a folder of maps for each photo, and gets the tables.
        photos: the name of each photo's folder, and the photo's number.
        boxes: finds the objects on the image of a photo by its number; None without boxes.
        has_curves: whether deletion and insertion curves lie beside the maps.
        header: what begins numbers.json, as `numbers_header` gives it.
        progress: called with the number of photos that are done and of all photos.

    Returns:
        The totals of the pointing game over the first layer's maps.
    """
    totals: list[PointingTotals] = []
    with (
        (folder / SCORES).open("w", encoding="utf-8", newline="") as table,
        (folder / NUMBERS).open("w", encoding="utf-8") as numbers,
    ):
        writer: csv.DictWriter[str] | None = None
        numbers.write(f'{{"convlens": {json_text(header).rstrip()},\n"photos": {{')
        for done, (name, number) in enumerate(photos):
            progress(done, len(photos))
            result = load_maps(folder / name)
            cams = result.gradcams if isinstance(result, GradCamLayers) else (result,)
            for layer, cam in enumerate(cams):
                game = pointing_game(cam, [boxes(number)]) if boxes else None
                if game is not None and layer == 0:
                    totals.append(game.totals())
                for rank in range(len(cam.names[0])):
                    row = _map_columns(name, cam, rank)
                    if has_curves:
                        path = curves_folder(folder / name, layer, rank, len(cams))
                        row |= _curve_columns(DeletionInsertion.load(path))
                    if game is not None:
                        row |= _box_columns(game, rank)
                    if writer is None:
                        writer = csv.DictWriter(table, list(row))
                        writer.writeheader()
                    writer.writerow(row)
            _write_numbers(numbers, name, result, first=done == 0)
        numbers.write("\n}")
    progress(len(photos), len(photos))
    return PointingTotals.sum_of(totals)


def read_scores(path: Path) -> Iterator[dict[str, str]]:
    """The rows of scores.csv, with the text as it was before it was escaped for spreadsheets."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row | {name: read_csv_text(row[name]) for name in _TEXT_COLUMNS}


def load_maps(folder: Path) -> GradCam | GradCamLayers:
    """The maps of one photo, at one layer or at several."""
    result = Result.load(folder)
    assert isinstance(result, (GradCam, GradCamLayers))
    return result


def curves_folder(folder: Path, layer: int, rank: int, layer_count: int) -> Path:
    """Where the deletion and insertion curves of one map lie in a photo's folder."""
    number = f"{layer + 1}-{rank + 1}" if layer_count > 1 else f"{rank + 1}"
    return folder / f"deletion-insertion-{number}"


def _map_columns(name: str, cam: GradCam, rank: int) -> dict[str, Any]:
    statistics = cam.statistics(0, rank)
    return {
        "photo": csv_text(name), "class": csv_text(cam.names[0][rank]),
        "layer": csv_text(printable(", ".join(cam.nodes))),
        "logit": _format(cam.scores[0, rank]),
        "probability": _format(cam.probabilities[0, rank]),
        "minimum": _format(statistics.minimum), "maximum": _format(statistics.maximum),
        "row": statistics.row, "column": statistics.column,
        "positive_cells": statistics.positive_cells, "cells": statistics.cells,
    }  # fmt: skip


def _curve_columns(curves: DeletionInsertion) -> dict[str, Any]:
    areas = {
        f"{kind}{order}": _format(values[0, index])
        for kind, values in (
            ("deletion", curves.deletion_areas), ("insertion", curves.insertion_areas),
        )
        for index, order in enumerate(("", "_random", "_center"))
    }  # fmt: skip
    return areas | {
        "deletion_beats": int(curves.deletion_beats[0]),
        "insertion_beats": int(curves.insertion_beats[0]),
    }


def _box_columns(game: PointingGame, rank: int) -> dict[str, Any]:
    return {
        "hit": int(game.hits[0, rank]) if game.has_box[0, rank] else "",
        "energy": _format(game.energy[0, rank]),
        "box_area": _format(game.box_area[0, rank]),
    }


def _format(value: Tensor | float) -> str:
    """With all digits of a float32; empty for NaN."""
    number = float(value)
    return "" if number != number else f"{number:.9g}"  # noqa: PLR0124 # only NaN differs


def _write_numbers(file: TextIO, name: str, result: Result, *, first: bool) -> None:
    text = json_text(result.to_json()).rstrip()
    file.write(f"{'' if first else ','}\n{json_text(name).rstrip()}: {text}")
