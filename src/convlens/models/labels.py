"""Class names, and the labels (right classes) of photos."""

import csv
import numbers
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from convlens.data.photo_names import find_keys, table_key
from convlens.errors import ConvlensError, suggest
from convlens.models.output_head import NEGATIVE
from convlens.text import printable, read_csv_text

# For each photo the indices of its right classes, or None if they are not known.
PhotoLabels = Sequence[Sequence[int] | None]

_FILE_COLUMNS = ("file", "filename", "image", "path", "photo")
_CLASS_COLUMNS = ("class", "label", "index", "name")  # pandas writes row numbers as index
_MINUS = " - "  # between two classes whose difference is meant


def find_class(labels: Sequence[str] | None, name: str | int, num_classes: int) -> int:
    """The index of a class that is given by index or by name.

    Args:
        labels: names of the classes by index, synonyms separated by commas; or None.
        name: an index, also as text; or a name, in any case: a whole label or, if no label is
            equal, one of its synonyms. Without labels also "class 17", as `class_name` writes it.
            Text that is both an index and a name is a name.
        num_classes: number of classes of the network.

    Returns:
        Index of the class, 0 to `num_classes` - 1.

    Raises:
        ConvlensError: an index out of range; a name that no class or several classes have; a name
            if there are no labels.

    Example:
        >>> find_class(["tabby, tabby cat", "tiger cat"], "Tabby Cat", 2)
        0
    """
    if isinstance(name, str):
        matches = _matching_classes(labels or (), name)
        if len(matches) > 1:
            raise ConvlensError(
                f"{name!r} is the name of classes {', '.join(map(str, matches))}; "
                f"give one of these indices"
            )
        if matches:
            return matches[0]
        name = _parse_index(labels, name, num_classes)
    if not isinstance(name, numbers.Integral):
        raise ConvlensError(
            f"class {name!r} of type {type(name).__name__}; give a name or an index of 0 to "
            f"{num_classes - 1}"
        )
    if not 0 <= name < num_classes:
        raise ConvlensError(
            f"class {name} of {num_classes}; give an index of 0 to {num_classes - 1}"
        )
    return int(name)


def find_class_pair(
    labels: Sequence[str] | None, name: str | int, num_classes: int
) -> tuple[int, int | None]:
    """The index of a class, or the indices of two classes whose difference `A - B` names.

    Args:
        labels: names of the classes by index, or None.
        name: one class, as `find_class` takes it, or two with " - " between them. A label that
            itself contains " - " is one class.
        num_classes: number of classes of the network.

    Returns:
        Index of the class, and index of the class that is subtracted or None.

    Raises:
        ConvlensError: a class that `find_class` refuses; the same class twice; text that can be
            split in several ways.

    Example:
        >>> find_class_pair(["cat", "dog"], "dog - cat", 2)
        (1, 0)
    """
    if not isinstance(name, str) or _MINUS not in name or _matching_classes(labels or (), name):
        return find_class(labels, name, num_classes), None
    parts = name.split(_MINUS)
    pairs: list[tuple[int, int]] = []
    last_error: ConvlensError | None = None
    for cut in range(1, len(parts)):
        sides = _MINUS.join(parts[:cut]), _MINUS.join(parts[cut:])
        try:
            first, second = (find_class(labels, side, num_classes) for side in sides)
        except ConvlensError as error:
            last_error = error
            continue
        pairs.append((first, second))
    if not pairs:
        assert last_error is not None
        raise last_error
    if len(pairs) > 1:
        raise ConvlensError(
            f"{name!r} can be split in {len(pairs)} ways; give indices, such as "
            f"'{pairs[0][0]} - {pairs[0][1]}'"
        )
    first, second = pairs[0]
    if first == second:
        raise ConvlensError(f"{name!r} is class {first} minus itself, which is zero")
    return first, second


def find_prediction(labels: Sequence[str] | None, name: str | int, num_classes: int) -> int:
    """The index of a prediction: a class or, for one output, also `NEGATIVE`.

    Args:
        labels: names of the classes by index, or None.
        name: name as `find_class` takes it; for one output also "not NAME", as `class_name` writes
            it, or -1.
        num_classes: number of outputs of the network.

    Raises:
        ConvlensError: a class that `find_class` refuses; for one output the message names the two
            predictions.

    Example:
        >>> find_prediction(["dog"], "not dog", 1)
        -1
    """
    if num_classes != 1:
        return find_class(labels, name, num_classes)
    positive, negative = class_name(labels, 0), class_name(labels, NEGATIVE)
    if _key(str(name)) in (str(NEGATIVE), _key(negative)):
        return NEGATIVE
    try:
        return find_class(labels, name, 1)
    except ConvlensError:
        raise ConvlensError(
            f"{name!r} is no prediction of a network with one output; "
            f"it predicts {positive!r} or {negative!r}"
        ) from None


def class_name(labels: Sequence[str] | None, index: int) -> str:
    """The name of a class for people.

    Args:
        labels: names of the classes by index, or None.
        index: index of the class; may be `NEGATIVE`.

    Returns:
        The first synonym of the label, printable; "class 17" without a label; for `NEGATIVE` "not"
        and the name of class 0.

    Example:
        >>> class_name(["tabby, tabby cat"], 0), class_name(None, 17), class_name(["dog"], -1)
        ('tabby', 'class 17', 'not dog')
    """
    if index == NEGATIVE:
        return f"not {class_name(labels, 0)}"
    if labels is None or not 0 <= index < len(labels):
        return f"class {index}"
    return printable(labels[index].split(",")[0].strip())


def read_labels(
    path: str | Path, labels: Sequence[str] | None, num_classes: int
) -> dict[str, tuple[int, ...]]:
    r"""Read the right classes of photos from a CSV file with a header.

    Args:
        path: CSV file in UTF-8. The photo is in the column file, filename, image, path or photo
            (the first of these that exists), the class in the column class, label, index or name
            (the first of these that exists), by index or name. The columns class and label, and
            the columns index and name, must agree if they exist.
            `|` separates several right classes. For a network with one output "not NAME" is the
            negative class.
        labels: names of the classes by index, or None.
        num_classes: number of classes of the network.

    Returns:
        Right classes by photo, for `match_labels`. A photo is named by its absolute path, its path
        relative to the folder of the CSV file, or any end of its path that no other photo has.

    Raises:
        ConvlensError: a file that cannot be read, a row that names no photo or class, or columns
            that disagree; the message has file and line.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text("file,class\ncat.jpg,tabby|1\ndog.jpg,beagle\n")
        >>> read_labels(path, ["tabby", "tiger cat", "beagle"], 3)
        {'cat.jpg': (0, 1), 'dog.jpg': (2,)}
    """
    table: dict[str, tuple[int, ...]] = {}
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            file_column, class_column = _find_columns(path, rows.fieldnames or ())
            check = _ColumnCheck(rows.fieldnames or (), labels, num_classes)
            for row in rows:
                try:
                    name, classes = _parse_row(
                        row[file_column], row[class_column], labels, num_classes
                    )
                    check.add(row, classes)
                    _add(table, table_key(name, Path(path).parent), classes)
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
    """The right classes of each photo.

    Args:
        paths: paths of the photos.
        table: from `read_labels`. The longest end of a photo's path that is in it counts.
        repeated: whether equal paths mean the same photo.

    Returns:
        Right classes of each photo, None where the table has none.

    Raises:
        ConvlensError: a row of the table that names two photos.

    Example:
        >>> match_labels(["a/cat.jpg", "a/dog.jpg"], {"cat.jpg": (0, 1)})
        [(0, 1), None]
    """
    keys = find_keys(paths, table, repeated=repeated)
    return [None if key is None else table[key] for key in keys]


def _matching_classes(labels: Sequence[str], name: str) -> list[int]:
    """Indices of the labels equal to a name; if there are none, of those with it as a synonym."""
    equal, with_synonym = _classes_by_name(tuple(labels))
    key = _key(name)
    return equal.get(key) or with_synonym.get(key, [])


def _classes_named(labels: Sequence[str], name: str) -> set[int]:
    """Indices of the labels that are equal to a name or have it as a synonym."""
    return {k for classes in _classes_by_name(tuple(labels)) for k in classes.get(_key(name), [])}


@lru_cache(maxsize=8)
def _classes_by_name(labels: tuple[str, ...]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Indices of the labels by the whole label, and by each synonym."""
    equal: dict[str, list[int]] = {}
    with_synonym: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        equal.setdefault(_key(label), []).append(index)
        for key in {_key(synonym) for synonym in label.split(",")}:
            with_synonym.setdefault(key, []).append(index)
    return equal, with_synonym


def _key(name: str) -> str:
    """The form in which equal names are equal: in lower case, and composed (NFC)."""
    return unicodedata.normalize("NFC", name.strip().casefold())


def _parse_index(labels: Sequence[str] | None, name: str, num_classes: int) -> int:
    digits = name.strip().removeprefix("class ") if labels is None else name
    try:
        return int(digits)
    except ValueError:
        if labels is None:
            raise ConvlensError(
                f"class {name!r}: the network has no labels; "
                f"give an index of 0 to {num_classes - 1}"
            ) from None
        names = (synonym.strip() for label in labels for synonym in label.split(","))
        hint = suggest(name, names) or f"; give a name or an index of 0 to {num_classes - 1}"
        raise ConvlensError(f"unknown class {name!r}{hint}") from None


def _find_columns(path: str | Path, header: Sequence[str]) -> tuple[str, str]:
    """Names of the columns with photos and with classes."""
    by_key = {name.strip().casefold(): name for name in header}
    columns = []
    for names in (_FILE_COLUMNS, _CLASS_COLUMNS):
        column = next((by_key[name] for name in names if name in by_key), None)
        if column is None:
            raise ConvlensError(
                f"{path}, line 1: no column {' or '.join(names)} among {list(by_key)}; "
                f"start the file with a line such as file,class"
            )
        columns.append(column)
    return columns[0], columns[1]


class _ColumnCheck:
    """Checks that two columns that both may hold the class do not disagree.

    The columns are class and label; or, without them, index and name, of which index may be the
    number of the row.
    """

    def __init__(
        self, header: Sequence[str], labels: Sequence[str] | None, num_classes: int
    ) -> None:
        self._labels, self._num_classes = labels, num_classes
        by_key = {name.strip().casefold(): name for name in header}
        present = [key for key in _CLASS_COLUMNS if key in by_key][:2]
        self._columns = [by_key[key] for key in present]
        self._has_names = present == ["index", "name"]
        self._active = self._has_names or present == ["class", "label"]
        self._index_of_name: dict[str, str] = {}

    def add(self, row: Mapping[str, str | None], classes: tuple[int, ...]) -> None:
        """Compare the second column of a row with the classes that were read from the first.

        Raises:
            ConvlensError: they disagree.
        """
        if not self._active:
            return
        first, second = ((row[column] or "").strip() for column in self._columns)
        if self._has_names:
            named = _classes_named(self._labels or (), second)
            earlier = self._index_of_name.setdefault(second, first)
            disagree = earlier != first or (bool(named) and not named.intersection(classes))
        else:
            try:
                parts = second.split("|")
                others = {find_prediction(self._labels, p, self._num_classes) for p in parts}
            except ConvlensError:  # not a class of the network
                return
            disagree = others != set(classes)
        if disagree:
            words = " and ".join(self._columns)
            raise ConvlensError(
                f"the columns {words} do not agree on the class ({first!r}, {second!r}); rename "
                f"the one that does not hold it"
            )


def _parse_row(
    file: str | None, cell: str | None, labels: Sequence[str] | None, num_classes: int
) -> tuple[str, tuple[int, ...]]:
    """Name of a photo and its right classes."""
    if not (file and file.strip()) or not (cell and cell.strip()):
        raise ConvlensError("a file or its class is missing; fill it in or remove the line")
    names = read_csv_text(cell.strip()).split("|")
    classes = tuple(find_prediction(labels, name.strip(), num_classes) for name in names)
    return read_csv_text(file.strip()), classes


def _add(table: dict[str, tuple[int, ...]], key: str, classes: tuple[int, ...]) -> None:
    if table.setdefault(key, classes) != classes:
        raise ConvlensError(
            f"{key} stands further up in the file with another class; "
            f"write as much of the photos' paths as tells them apart"
        )
