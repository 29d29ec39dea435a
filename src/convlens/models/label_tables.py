"""Writes the labels of photos as a CSV file that `read_labels` reads."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from convlens.errors import ConvlensError
from convlens.files import atomic_file
from convlens.models.labels import class_name, find_prediction
from convlens.text import csv_text

_SEPARATOR = "|"  # between several classes of a photo


def write_labels(
    path: Path,
    rows: Iterable[tuple[str, Sequence[int]]],
    labels: Sequence[str] | None,
    num_classes: int,
) -> None:
    """Write the right classes of photos as a CSV file with the columns file and class.

    Args:
        path: the file to write, whole or not at all.
        rows: for each photo its name, as `read_labels` takes it, and the indices of its classes.
        labels: names of the classes by index, or None.
        num_classes: number of classes of the network.

    Raises:
        ConvlensError: the file cannot be written.
    """
    try:
        with (
            atomic_file(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            table = csv.writer(file)
            table.writerow(("file", "class"))
            for name, classes in rows:
                words = [name_class(labels, index, num_classes) for index in classes]
                table.writerow((csv_text(name), csv_text(_SEPARATOR.join(words))))
    except OSError as error:
        raise ConvlensError(f"cannot write {path} ({error.strerror or error})") from error


def name_class(labels: Sequence[str] | None, index: int, num_classes: int) -> str:
    """A class by its name, or by its index where other classes have that name too.

    Args:
        labels: names of the classes by index, or None.
        index: index of the class; for one output also -1.
        num_classes: number of classes of the network.

    Example:
        >>> name_class(["crane", "crane", "tabby, cat"], 1, 3), name_class(["tabby, cat"], 0, 1)
        ('1', 'tabby')
    """
    name = class_name(labels, index)
    try:
        own = find_prediction(labels, name, num_classes) == index
    except ConvlensError:
        own = False
    return name if own and _SEPARATOR not in name else str(index)
