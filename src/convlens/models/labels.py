"""Class names, and the right answers to photos."""

import csv
import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from convlens.data.photo_names import find_keys, table_key
from convlens.errors import ConvlensError, suggest
from convlens.models.output_head import NEGATIVE

# For each photo the indices of its right classes, or None where they are not known.
PhotoLabels = Sequence[Sequence[int] | None]

_FILE_COLUMNS = ("file", "filename", "image", "path", "photo")
_CLASS_COLUMNS = ("class", "index", "label", "name")
_MINUS = " - "  # between two classes whose difference is meant


def find_class(labels: Sequence[str] | None, wanted: str | int, classes: int) -> int:
    """The index of a class that is given by index or by name.

    Args:
        labels: names of the classes by index, synonyms separated by commas; or None.
        wanted: an index, also as text, or a name, in capitals or not: a whole label, or
            failing that one of its synonyms; without labels also "class 17", as `class_name`
            calls it. Text that is both an index and a name, as in
            `("1", "2")`, is taken as a name.
        classes: how many classes the network tells apart.

    Raises:
        ConvlensError: an index out of range; a name that no class or more than one has; a name
            where there are no labels.
    """
    if isinstance(wanted, str):
        matches = _matches(labels or (), wanted)
        if len(matches) > 1:
            raise ConvlensError(
                f"{wanted!r} is the name of classes {', '.join(map(str, matches))}; "
                f"give one of these indices"
            )
        if matches:
            return matches[0]
        wanted = _index(labels, wanted, classes)
    if not isinstance(wanted, numbers.Integral):
        raise ConvlensError(
            f"class {wanted!r} of type {type(wanted).__name__}; give a name or an index of 0 to "
            f"{classes - 1}"
        )
    if not 0 <= wanted < classes:
        raise ConvlensError(f"class {wanted} of {classes}; give an index of 0 to {classes - 1}")
    return int(wanted)


def find_class_pair(
    labels: Sequence[str] | None, wanted: str | int, classes: int
) -> tuple[int, int | None]:
    """A class, or the difference of two that `A - B` names, with spaces around the minus.

    Args:
        labels: as for `find_class`.
        wanted: likewise, or two of these; a name that itself contains ` - ` is taken whole.
        classes: likewise.

    Returns:
        The index of the class, and of the one that is subtracted, or None.

    Raises:
        ConvlensError: as `find_class`, for either side; sides that are one class; text that can
            be parted in several ways.
    """
    if not isinstance(wanted, str) or _MINUS not in wanted or _matches(labels or (), wanted):
        return find_class(labels, wanted, classes), None
    parts = wanted.split(_MINUS)
    found: list[tuple[int, int]] = []
    reason: ConvlensError | None = None
    for cut in range(1, len(parts)):
        sides = _MINUS.join(parts[:cut]), _MINUS.join(parts[cut:])
        try:
            first, second = (find_class(labels, side, classes) for side in sides)
        except ConvlensError as error:
            reason = error
            continue
        found.append((first, second))
    if not found:
        assert reason is not None
        raise reason
    if len(found) > 1:
        raise ConvlensError(
            f"{wanted!r} can be parted in {len(found)} ways; give indices, such as "
            f"'{found[0][0]} - {found[0][1]}'"
        )
    first, second = found[0]
    if first == second:
        raise ConvlensError(f"{wanted!r} is class {first} without itself, which is nothing")
    return first, second


def find_prediction(labels: Sequence[str] | None, wanted: str | int, classes: int) -> int:
    """The index of an answer: a class, or `output_head.NEGATIVE` where one class alone is denied.

    Args:
        labels: as for `find_class`.
        wanted: likewise; of one class also "not NAME", as `class_name` calls it, or -1.
        classes: how many classes the network tells apart.

    Raises:
        ConvlensError: as `find_class`; of one class it says what the two answers are.
    """
    if classes != 1:
        return find_class(labels, wanted, classes)
    yes, no = class_name(labels, 0), class_name(labels, NEGATIVE)
    if str(wanted).strip().casefold() in (str(NEGATIVE), no.casefold()):
        return NEGATIVE
    try:
        return find_class(labels, wanted, 1)
    except ConvlensError:
        raise ConvlensError(
            f"{wanted!r} is not among the answers; one output answers {yes!r} or {no!r}"
        ) from None


def class_name(labels: Sequence[str] | None, index: int) -> str:
    """The first synonym of a class; "class 17" where it has no label.

    For `NEGATIVE`, which a network with one output predicts: "not" and the name of class 0.
    """
    if index == NEGATIVE:
        return f"not {class_name(labels, 0)}"
    if labels is None or not 0 <= index < len(labels):
        return f"class {index}"
    return labels[index].split(",")[0].strip()


def read_labels(
    path: str | Path, labels: Sequence[str] | None, classes: int
) -> dict[str, tuple[int, ...]]:
    """The right answers to photos, from a CSV file with a header.

    Args:
        path: the file, in UTF-8. The photo stands in its column file, filename, image, path or
            photo, the class in its column class, index, label or name (the first of these that
            there is), by index or name; `|` separates several acceptable classes. Of
            one class "not NAME" says that it is not there.
        labels: names of the classes by index, or None.
        classes: how many classes the network tells apart.

    Returns:
        The acceptable classes by photo, as `match_labels` takes them. A photo is called by its path
        from the file's folder or from the working directory, or by any end of it that no other
        photo has: its name, where that is enough.

    Raises:
        ConvlensError: with file and line, whatever cannot be read or does not fit.
    """
    table: dict[str, tuple[int, ...]] = {}
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            file_column, class_column = _columns(path, rows.fieldnames or ())
            for row in rows:
                try:
                    name, answer = _entry(row[file_column], row[class_column], labels, classes)
                    _enter(table, table_key(name, Path(path).parent), answer)
                except ConvlensError as error:
                    raise ConvlensError(f"{path}, line {rows.line_num}: {error}") from None
    except OSError as error:
        raise ConvlensError(f"cannot read {path} ({error.strerror}); give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConvlensError(f"{path} is not CSV in UTF-8 ({error}); save it as such") from error
    return table


def match_labels(
    paths: Iterable[str | Path], table: Mapping[str, tuple[int, ...]], *, repeated: bool = True
) -> list[tuple[int, ...] | None]:
    """The acceptable classes of each photo, by the end of its path; None where there are none.

    Args:
        paths: of the photos.
        table: from `read_labels`. The longest end of a path that is in it counts.
        repeated: equal paths are one photo given twice, and no two photos of one name.

    Raises:
        ConvlensError: an entry that stands for two photos.
    """
    keys = find_keys(paths, table, repeated=repeated)
    return [None if key is None else table[key] for key in keys]


def _matches(labels: Sequence[str], wanted: str) -> list[int]:
    """Indices of the labels that are `wanted`; where there are none, those with it as synonym."""
    key = wanted.strip().casefold()
    whole = [index for index, label in enumerate(labels) if label.strip().casefold() == key]
    return whole or [
        index
        for index, label in enumerate(labels)
        if key in (name.strip().casefold() for name in label.split(","))
    ]


def _index(labels: Sequence[str] | None, wanted: str, classes: int) -> int:
    unnamed = wanted.strip().removeprefix("class ") if labels is None else wanted
    try:
        return int(unnamed)
    except ValueError:
        if labels is None:
            raise ConvlensError(
                f"class {wanted!r}: the network has no labels; give an index of 0 to {classes - 1}"
            ) from None
        names = (name.strip() for label in labels for name in label.split(","))
        close = suggest(wanted, names) or f"; give a name or an index of 0 to {classes - 1}"
        raise ConvlensError(f"unknown class {wanted!r}{close}") from None


def _columns(path: str | Path, header: Sequence[str]) -> tuple[str, str]:
    known = {name.strip().casefold(): name for name in header}
    found = []
    for wanted in (_FILE_COLUMNS, _CLASS_COLUMNS):
        column = next((known[name] for name in wanted if name in known), None)
        if column is None:
            raise ConvlensError(
                f"{path}, line 1: no column {' or '.join(wanted)} among {list(known)}; "
                f"start the file with a line such as file,class"
            )
        found.append(column)
    return found[0], found[1]


def _entry(
    file: str | None, cell: str | None, labels: Sequence[str] | None, classes: int
) -> tuple[str, tuple[int, ...]]:
    if not (file and file.strip()) or not (cell and cell.strip()):
        raise ConvlensError("a file or its class is missing; fill it in or remove the line")
    answer = tuple(find_prediction(labels, part.strip(), classes) for part in cell.split("|"))
    return file.strip(), answer


def _enter(table: dict[str, tuple[int, ...]], name: str, answer: tuple[int, ...]) -> None:
    if table.setdefault(name, answer) != answer:
        raise ConvlensError(
            f"{name} stands further up with another class; "
            f"write as much of the photos' paths as tells them apart"
        )
