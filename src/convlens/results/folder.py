"""What people read in the folder of a result: pictures, contact sheet, numbers and index."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convlens.data.images import encode_png
from convlens.files import NUMBERS
from convlens.results.contact_sheet import MOST, contact_sheet
from convlens.results.index import CONTACT_SHEET, IndexGroup, IndexPicture, write_index
from convlens.results.numbers import numbers_of, summary_lines
from convlens.results.table import Table
from convlens.text import csv_text, file_name, json_text
from convlens.wording import capitalized


def write_for_people(
    temporary: Path,
    result: Any,
    pictures: Mapping[str, Tensor],
    *,
    photo: str = "",
    command: str | None = None,
) -> None:
    """Write pictures, `contact-sheet.png`, `numbers.json`, CSV files and `index.html`.

    Args:
        temporary: the folder to write to.
        result: the `Result`.
        pictures: its pictures by name.
        photo: name of the photo. Default: none.
        command: the command line that makes the result. Default: none.
    """
    numbers = numbers_of(result, command=command)
    (temporary / NUMBERS).write_text(json_text(numbers), encoding="utf-8")
    for name, table in result.csv_tables().items():
        _write_csv(temporary / name, table)
    layer = getattr(result, "layer", None)
    captioned = {_caption(name, layer): pixels for name, pixels in pictures.items()}
    write_pictures(temporary, captioned, photo=photo)
    shown = find_pictures(temporary, "", list(captioned), photo=photo)
    _write_sheet_and_index(
        temporary, result, _group(result, pictures, shown), shown, photo=photo, command=command,
        python='result = convlens.Result.load(".")',
    )  # fmt: skip


def _group(result: Any, names: Iterable[str], shown: Sequence[IndexPicture]) -> list[IndexGroup]:
    """All pictures together; each by itself where the class says how to read it."""
    if not result.how_to_read:
        return [IndexGroup("", tuple(shown))]
    return [
        IndexGroup(capitalized(name), (replace(picture, caption=""),), text=text)
        for name, picture in zip(names, shown, strict=True)
        for text in [result.how_to_read.get(name, "")]
    ]


def write_overview(
    temporary: Path,
    result: Any,
    groups: Sequence[IndexGroup],
    *,
    left_out: str = "",
    command: str | None = None,
    python: str = "",
) -> None:
    """Write `contact-sheet.png` and `index.html` of a folder that has a folder for each photo.

    Args:
        temporary: the folder to write to, with everything else in it.
        result: what all photos have in common.
        groups: the pictures of each photo. The contact sheet has all of them, or the first of each
            where these are too many.
        left_out: which photos are left out, in a sentence. Default: none.
        command: the command line that makes the result. Default: none.
        python: a Python line that loads the result of a photo. Default: none.
    """
    most = None if sum(len(group.pictures) for group in groups) <= MOST else 1
    on_sheet = [
        replace(picture, caption=f"{group.title}\n{picture.caption}".strip())
        for group in groups
        for picture in group.pictures[:most]
    ]
    _write_sheet_and_index(
        temporary, result, groups, on_sheet, left_out=left_out, command=command, python=python
    )


def _write_sheet_and_index(
    folder: Path,
    result: Any,
    groups: Sequence[IndexGroup],
    on_sheet: Sequence[IndexPicture],
    *,
    photo: str = "",
    left_out: str = "",
    command: str | None,
    python: str,
) -> None:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(result).__name__)
    title = result.folder_title or words.capitalize()
    table = result.table()
    if on_sheet:
        tiles = [(_read(folder / picture.path), picture.caption) for picture in on_sheet]
        sheet = contact_sheet(f"{title} · {photo}" if photo else title, tiles)
        (folder / CONTACT_SHEET).write_bytes(encode_png(sheet))
    write_index(
        folder,
        title,
        [group for group in groups if group.pictures],
        subject=photo,
        summary=[*summary_lines(result), *_warnings(result)],
        table=table.without_empty_columns() if table is not None else None,
        left_out=left_out,
        command=command,
        python=f"import convlens\n{python}  # in this folder" if python else "",
    )


def _warnings(result: Any) -> list[str]:
    """The warnings of a `NetworkResult`; other results have none."""
    warnings = getattr(result, "warnings", ())
    are_texts = isinstance(warnings, tuple) and all(isinstance(words, str) for words in warnings)
    return [f"Warning: {words}." for words in warnings] if are_texts else []


def find_pictures(
    root: Path, folder: str, names: Sequence[str], *, photo: str = ""
) -> tuple[IndexPicture, ...]:
    """The pictures of a saved result, for an index.

    Args:
        root: the folder of the index.
        folder: path of the folder with the pictures, relative to `root`; empty for `root` itself.
        names: the names of the pictures, which become their captions.
        photo: name of the photo, as it was given when they were written. Default: none.
    """
    shown = []
    for name, file in zip(names, picture_files(names, photo=photo), strict=True):
        path = str(PurePosixPath(folder, file))
        with Image.open(root / path) as picture:
            shown.append(IndexPicture(path, *picture.size, caption=name))
    return tuple(shown)


def write_pictures(folder: Path, pictures: Mapping[str, Tensor], *, photo: str = "") -> None:
    """Write pictures as PNG files, in place of those that are in the folder.

    Args:
        folder: the folder.
        pictures: the pictures by name. `picture_files` gives the names of the files.
        photo: name of the photo. Default: none.
    """
    for old in folder.glob("*.png"):
        old.unlink()
    names = picture_files(tuple(pictures), photo=photo)
    for name, pixels in zip(names, pictures.values(), strict=True):
        (folder / name).write_bytes(encode_png(pixels))


def picture_files(pictures: Sequence[str], *, photo: str = "") -> list[str]:
    """The names of the files of pictures, all different.

    Args:
        pictures: names of the pictures.
        photo: name of the photo, with which the names of the files begin. Default: none.

    Example:
        >>> picture_files(["tiger cat, layer4", "tiger cat: layer4"], photo="chelsea.png")
        ['chelsea-tiger_cat_layer4.png', 'chelsea-tiger_cat_layer4_2.png']
    """
    names: list[str] = []
    stem = PurePath(photo).stem
    for picture in pictures:
        base = "-".join(filter(None, (_part(stem), _part(picture)))) or "picture"
        name, number = file_name(f"{base}.png"), 2
        while name.casefold() in {other.casefold() for other in [*names, CONTACT_SHEET]}:
            name, number = file_name(f"{base}_{number}.png"), number + 1
        names.append(name)
    return names


def _write_csv(path: Path, table: Table) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.heads)
        writer.writerows([csv_text(cell) for cell in row] for row in table.rows)


def _part(text: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", text).strip("._")


def _caption(picture: str, layer: Any) -> str:
    """The name of a picture with the layer, but for the photo, which has none."""
    if not isinstance(layer, str) or not layer or picture == "photo":
        return picture
    return f"{picture} of {layer}"


def _read(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture))
