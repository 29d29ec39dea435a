"""Boxes of objects: read from a CSV file and mapped to the images that a model sees.

The file has a header and a row for each object with the columns file, class, left, top, right and
bottom. Edges are in pixels of the stored file, measured from the outer edge of its first pixel.
Where EXIF turns a photo, its boxes turn with it; the model's resize and crop act on the boxes as on
the photo.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from convlens.data.csv_tables import open_csv
from convlens.data.photo_names import find_key, table_key
from convlens.data.photos import EncodedPhoto, read_stored_size
from convlens.errors import ConvlensError
from convlens.models.labels import find_class
from convlens.models.model import Model
from convlens.text import read_csv_text
from convlens.tracing.tracer import trace

COLUMNS = ("file", "class", "left", "top", "right", "bottom")


@dataclass(frozen=True)
class ObjectBox:
    """The box around an object on a photo or on an image.

    Edges are in pixels, measured from the outer edge of the first pixel.

    Attributes:
        classes: indices of the classes that the object may be called.
        left: the left edge.
        top: the upper edge.
        right: the right edge.
        bottom: the lower edge.
    """

    classes: tuple[int, ...]
    left: float
    top: float
    right: float
    bottom: float

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


def read_boxes(path: str | Path, model: Model) -> dict[str, tuple[ObjectBox, ...]]:
    r"""Read the boxes of a CSV file.

    Args:
        path: the file, in UTF-8, with a header and the columns file, class, left, top, right and
            bottom, in any order. A photo is named by its path or by the end of it, as in
            `convlens.models.label_tables.read_labels`. A class is a name or an index; `|` separates
            several names of one object.
        model: the model that knows the classes.

    Returns:
        The boxes of each photo, by the photo's path or the end of it.

    Raises:
        ConvlensError: the file cannot be read, has no such columns, or a row is no box; the
            message names the file and the line.

    Example:
        >>> import tempfile, pathlib, torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        ... )
        >>> model = convlens.wrap(network, size=8, labels=("cat", "dog"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "boxes.csv"
        ...     _ = path.write_text("file,class,left,top,right,bottom\npet.jpg,dog,2,1,7,6\n")
        ...     boxes = convlens.read_boxes(path, model)
        >>> list(boxes.values())
        [(ObjectBox(classes=(1,), left=2.0, top=1.0, right=7.0, bottom=6.0),)]
    """
    class_count = trace(model).num_outputs
    table: dict[str, list[ObjectBox]] = {}
    with open_csv(path, COLUMNS) as rows:
        names = {name.strip().casefold(): name for name in rows.fieldnames or ()}
        missing = [column for column in COLUMNS if column not in names]
        if missing:
            raise ConvlensError(
                f"{path} has no column {missing[0]}; start the file with a line such as "
                f"{','.join(COLUMNS)}"
            )
        for row in rows:
            try:
                cells = [(row[names[column]] or "").strip() for column in COLUMNS]
                name, box = _parse_row(cells, model, class_count)
            except ConvlensError as error:
                raise ConvlensError(f"{path}, line {rows.line_num}: {error}") from None
            table.setdefault(table_key(name, Path(path).parent), []).append(box)
    _check_unit(path, table)
    return {name: tuple(boxes) for name, boxes in table.items()}


def boxes_on_image(
    model: Model, photo: str | Path | EncodedPhoto, table: Mapping[str, tuple[ObjectBox, ...]]
) -> tuple[ObjectBox, ...]:
    """Map the boxes of a photo to the image that the model sees.

    Edges are clipped to the image. An object that the crop cuts off keeps a box without area.

    Args:
        model: the model whose preprocessing makes the image.
        photo: the photo's file, or its bytes. Its boxes are those of the longest end of its path
            that is in the table.
        table: the boxes of all photos, from `read_boxes`.

    Returns:
        The boxes in pixels of the image; empty where the table has none for this photo.

    Raises:
        PhotoError: the photo cannot be read.

    Example:
        >>> import tempfile, pathlib, torch, convlens
        >>> from PIL import Image
        >>> from convlens.analyses.gradcam.boxes import ObjectBox
        >>> model = convlens.wrap(torch.nn.Conv2d(3, 2, 3), size=8)
        >>> table = {"pet.png": (ObjectBox((1,), 2, 0, 6, 4),)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "pet.png"
        ...     Image.new("RGB", (16, 16)).save(path)
        ...     boxes = convlens.boxes_on_image(model, path, table)
        >>> boxes[0].edges
        (1.0, 0.0, 3.0, 2.0)
    """
    key = find_key(photo.name if isinstance(photo, EncodedPhoto) else photo, table)
    boxes = () if key is None else table[key]
    if not boxes:
        return ()
    width, height, orientation = read_stored_size(photo)
    edges = torch.tensor([box.edges for box in boxes], dtype=torch.float64)
    edges, width, height = _turn_upright(edges, width, height, orientation)
    on_image = model.preprocessing.transform_boxes(edges, width, height)
    image_height, image_width = model.size
    limits = torch.tensor(
        [image_width, image_height, image_width, image_height], dtype=torch.float64
    )
    on_image = torch.minimum(on_image.clamp(min=0), limits)
    return tuple(
        ObjectBox(box.classes, *row) for box, row in zip(boxes, on_image.tolist(), strict=True)
    )


def _check_unit(path: str | Path, table: Mapping[str, Sequence[ObjectBox]]) -> None:
    """Refuse boxes that are measured in shares of the photo, as several data sets have them."""
    edges = [edge for boxes in table.values() for box in boxes for edge in box.edges]
    if edges and max(edges) <= 1 and min(edges) >= 0:
        raise ConvlensError(
            f"{path}: all edges are between 0 and 1, as shares of width and height are; give pixels"
        )


def _parse_row(cells: list[str], model: Model, class_count: int) -> tuple[str, ObjectBox]:
    """The photo's name and the box of one row of the file."""
    if not all(cells):
        raise ConvlensError(f"{COLUMNS[cells.index('')]} is missing; fill it in or remove the line")
    file, name, *texts = (*map(read_csv_text, cells[:2]), *cells[2:])
    try:
        left, top, right, bottom = (float(text) for text in texts)
    except ValueError:
        raise ConvlensError(
            f"edges {', '.join(texts)}; give four finite numbers in pixels"
        ) from None
    if not all(math.isfinite(edge) for edge in (left, top, right, bottom)):
        raise ConvlensError(f"edges {', '.join(texts)}; give four finite numbers in pixels")
    if not (left < right and top < bottom):
        raise ConvlensError(
            f"a box from {left:g},{top:g} to {right:g},{bottom:g} is empty; the columns are left, "
            f"top, right, bottom"
        )
    classes = tuple(find_class(model.labels, part.strip(), class_count) for part in name.split("|"))
    return file, ObjectBox(classes, left, top, right, bottom)


def _turn_upright(
    edges: Tensor, width: int, height: int, orientation: int
) -> tuple[Tensor, int, int]:
    """Boxes `(n, 4)`, width and height after the turn of an EXIF orientation (1 to 8)."""
    x, y = edges[:, [0, 2]], edges[:, [1, 3]]
    mirrored_x, mirrored_y = width - x, height - y
    turned = {
        2: (mirrored_x, y), 3: (mirrored_x, mirrored_y), 4: (x, mirrored_y), 5: (y, x),
        6: (mirrored_y, x), 7: (mirrored_y, mirrored_x), 8: (y, mirrored_x),
    }  # fmt: skip
    x, y = turned.get(orientation, (x, y))
    if orientation >= 5:
        width, height = height, width
    x, y = x.sort(dim=1).values, y.sort(dim=1).values
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1), width, height
