"""Writes some validation images with their labels as photos into the run folder."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import torch

from convlens.data.images import encode_png
from convlens.errors import ConvlensError
from convlens.files import atomic_file
from convlens.models.label_tables import write_labels
from convlens.models.loading.run_photos import LABELS, PHOTOS
from convlens.training.data import Dataset

_MOST = 64
_LONGEST_NAME = 40  # characters of a class in the name of a file


def write_example_photos(run: Path, data: Dataset) -> None:
    """Write at most 64 validation images as `RUN/photos/CLASS-NUMBER.png`, and their labels.

    They are the first ones of each class in the order of the data, as evenly over the classes as
    they come.

    Args:
        run: the run folder.
        data: the data of the training.
    """
    folder = run / PHOTOS
    rows = []
    try:
        folder.mkdir(exist_ok=True)
        numbers = _choose_images(data)
        chosen = data.validation.read(torch.tensor(numbers, dtype=torch.int64))
        for number, pixels, index in zip(
            numbers, chosen.pixels, chosen.classes.tolist(), strict=True
        ):
            name = f"{_file_name(data.labels[index])}-{number:05d}.png"
            with atomic_file(folder / name) as temporary:
                temporary.write_bytes(encode_png(pixels))
            rows.append((name, (index,)))
    except OSError as error:
        raise ConvlensError(f"cannot write {folder} ({error.strerror or error})") from error
    write_labels(folder / LABELS, rows, data.labels, len(data.labels))


def _choose_images(data: Dataset) -> list[int]:
    """Numbers of the images: the first of each class, then the second of each, and so on."""
    by_class: dict[int, list[int]] = {}
    for number, index in enumerate(data.validation.classes.tolist()):
        members = by_class.setdefault(index, [])
        if len(members) < _MOST:
            members.append(number)
    rounds: Iterator[tuple[int | None, ...]] = zip_longest(*(by_class[k] for k in sorted(by_class)))
    return [number for members in rounds for number in members if number is not None][:_MOST]


def _file_name(label: str) -> str:
    """A class as the beginning of a file's name."""
    return re.sub(r"[^\w-]+", "-", label).strip("-")[:_LONGEST_NAME] or "class"
