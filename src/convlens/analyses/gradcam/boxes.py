"""Boxes of objects: read from a CSV file, turned and scaled with the photos that they are drawn on.

The file has a header and a line for each object: file, class, left, top, right, bottom, in pixels
of the file as it is stored, 0 being the first pixel's outer edge. Where EXIF turns the photo its
boxes turn with it, and the model's resize and crop act on them as on the photo.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from convlens.data.photo_names import find_key, table_key
from convlens.data.photos import EncodedPhoto, read_stored_size
from convlens.errors import ConvlensError
from convlens.models.labels import find_class
from convlens.models.model import Model
from convlens.tracing.trace import trace

COLUMNS = ("file", "class", "left", "top", "right", "bottom")


@dataclass(frozen=True)
class Box:
    """An object on a photo or on an image.

    Attributes:
        classes: indices of those that it may be called.
        left: its edges in pixels, 0 being the first pixel's outer edge.
        top: likewise.
        right: likewise.
        bottom: likewise.
    """

    classes: tuple[int, ...]
    left: float
    top: float
    right: float
    bottom: float

    @property
    def sides(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


def read_boxes(path: str | Path, model: Model) -> dict[str, tuple[Box, ...]]:
    """The boxes of a CSV file with a header, by the photo's path or the end of it.

    Args:
        path: the file, in UTF-8, with the columns file, class, left, top, right and bottom. A
            photo is called as in `convlens.models.labels.read_labels`. A class is a name or an
            index; `|` separates several that the object may be called.
        model: knows the classes.

    Raises:
        ConvlensError: with file and line, whatever cannot be read or is no box.
    """
    found = trace(model)
    known = found.num_outputs
    table: dict[str, list[Box]] = {}
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = {(name or "").strip().casefold(): name for name in rows.fieldnames or ()}
            missing = [column for column in COLUMNS if column not in names]
            if missing:
                raise ConvlensError(
                    f"{path} has no column {missing[0]}; start the file with a line such as "
                    f"{','.join(COLUMNS)}"
                )
            for row in rows:
                try:
                    cells = [(row[names[column]] or "").strip() for column in COLUMNS]
                    name, box = _box(cells, model, known)
                except ConvlensError as error:
                    raise ConvlensError(f"{path}, line {rows.line_num}: {error}") from None
                table.setdefault(table_key(name, Path(path).parent), []).append(box)
    except OSError as error:
        raise ConvlensError(f"cannot read {path} ({error.strerror}); give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConvlensError(f"{path} is not CSV in UTF-8 ({error}); save it as such") from error
    return {name: tuple(boxes) for name, boxes in table.items()}


def boxes_on_image(
    model: Model, photo: str | Path | EncodedPhoto, table: Mapping[str, tuple[Box, ...]]
) -> tuple[Box, ...]:
    """The boxes of a photo file as they lie on its image; none where the table has none.

    Edges are clipped to the image. An object that the crop leaves out keeps a box without area.

    Args:
        model: its preprocessing makes the image.
        photo: the file, or its bytes; its boxes are found by the longest end of its path that is
            in the table.
        table: from `read_boxes`.

    Raises:
        PhotoError: the photo cannot be read.
    """
    key = find_key(photo.name if isinstance(photo, EncodedPhoto) else photo, table)
    given = () if key is None else table[key]
    if not given:
        return ()
    width, height, orientation = read_stored_size(photo)
    sides = torch.tensor([box.sides for box in given], dtype=torch.float64)
    sides, width, height = _upright(sides, width, height, orientation)
    on_image = model.preprocessing.transform_boxes(sides, width, height)
    high, wide = model.size
    most = torch.tensor([wide, high, wide, high], dtype=torch.float64)
    on_image = torch.minimum(on_image.clamp(min=0), most)
    return tuple(
        Box(box.classes, *row) for box, row in zip(given, on_image.tolist(), strict=True)
    )  # fmt: skip


def _box(cells: list[str], model: Model, known: int) -> tuple[str, Box]:
    if not all(cells):
        raise ConvlensError(f"{COLUMNS[cells.index('')]} is missing; fill it in or remove the line")
    file, name, *edges = cells
    try:
        left, top, right, bottom = (float(edge) for edge in edges)
    except ValueError:
        raise ConvlensError(
            f"edges {', '.join(edges)}: four numbers of pixels are needed"
        ) from None
    if not all(math.isfinite(edge) for edge in (left, top, right, bottom)):
        raise ConvlensError(f"edges {', '.join(edges)}: four numbers of pixels are needed")
    if not (left < right and top < bottom):
        raise ConvlensError(
            f"a box from {left:g},{top:g} to {right:g},{bottom:g} is empty; the columns are left, "
            f"top, right, bottom"
        )
    classes = tuple(find_class(model.labels, part.strip(), known) for part in name.split("|"))
    return file, Box(classes, left, top, right, bottom)


def _upright(sides: Tensor, width: int, height: int, orientation: int) -> tuple[Tensor, int, int]:
    """Boxes, width and height after the turn that EXIF asks for (orientations 1 to 8)."""
    x, y = sides[:, [0, 2]], sides[:, [1, 3]]
    across, down = width - x, height - y
    turned = {
        2: (across, y), 3: (across, down), 4: (x, down), 5: (y, x),
        6: (down, x), 7: (down, across), 8: (y, across),
    }  # fmt: skip
    x, y = turned.get(orientation, (x, y))
    if orientation >= 5:
        width, height = height, width
    x, y = x.sort(dim=1).values, y.sort(dim=1).values
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1), width, height
