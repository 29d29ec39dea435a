"""Labels: the right classes of photos, read from CSV files and written to them."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from convlens.data.csv_tables import open_csv
from convlens.data.photo_names import find_keys, table_key
from convlens.errors import ConvlensError
from convlens.files import atomic_file
from convlens.models.labels import class_name, classes_named, find_prediction
from convlens.text import csv_text, read_csv_text

_FILE_COLUMNS = ("file", "filename", "image", "path", "photo")
_CLASS_COLUMNS = ("class", "label", "index", "name")  # pandas writes row numbers as index
_SEPARATOR = "|"  # between several classes of a photo


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
    check: _ColumnCheck | None = None
    for line, key, cell, row in _read_rows(path):
        check = check or _ColumnCheck([name for name in row if name], labels, num_classes)
        try:
            names = read_csv_text(cell).split(_SEPARATOR)
            classes = tuple(find_prediction(labels, name.strip(), num_classes) for name in names)
            check.add(row, classes)
            _add(table, key, classes)
        except ConvlensError as error:
            raise ConvlensError(f"{path}, line {line}: {error}") from None
    return table


def read_labeled_photos(path: str | Path) -> dict[str, str]:
    r"""Read the photos of a CSV file of labels without looking up their classes.

    It needs no network, so that a wrong file is found before a network is loaded.

    Args:
        path: CSV file, as `read_labels` takes it.

    Returns:
        What the file has as class, by photo, with the keys that `read_labels` returns.

    Raises:
        ConvlensError: as `read_labels`, except for classes that the network does not have.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text("file,class\ncat.jpg,tabby|1\n")
        >>> read_labeled_photos(path)
        {'cat.jpg': 'tabby|1'}
    """
    return {key: cell for _, key, cell, _ in _read_rows(path)}


def match_labels(
    paths: Iterable[str | Path], table: Mapping[str, tuple[int, ...]], *, repeated: bool = True
) -> list[tuple[int, ...] | None]:
    """The right classes of each photo.

    Args:
        paths: paths of the photos.
        table: from `read_labels`. The longest end of a photo's path that is in it counts.
        repeated: whether equal paths mean the same photo; default: True.

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
    text = format_labels(rows, labels, num_classes)
    try:
        with (
            atomic_file(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            file.write(text)
    except OSError as error:
        raise ConvlensError(f"cannot write {path} ({error.strerror or error})") from error


def format_labels(
    rows: Iterable[tuple[str, Sequence[int]]], labels: Sequence[str] | None, num_classes: int
) -> str:
    r"""The text of a CSV file with the right classes of photos, as `read_labels` reads it.

    Args:
        rows: as `write_labels`.
        labels: names of the classes by index, or None.
        num_classes: number of classes of the network.

    Example:
        >>> format_labels([("cat.jpg", (0, 1))], ["tabby", "tiger cat"], 2)
        'file,class\r\ncat.jpg,tabby|tiger cat\r\n'
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(("file", "class"))
    for name, classes in rows:
        words = [name_class(labels, index, num_classes) for index in classes]
        table.writerow((csv_text(name), csv_text(_SEPARATOR.join(words))))
    return text.getvalue()


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
        is_unique = find_prediction(labels, name, num_classes) == index
    except ConvlensError:
        is_unique = False
    return name if is_unique and _SEPARATOR not in name else str(index)


def _read_rows(path: str | Path) -> Iterator[tuple[int, str, str, dict[str, str | None]]]:
    """Line number, key of the photo, text of the class and all cells of each row of a file."""
    with open_csv(path, (*_FILE_COLUMNS, *_CLASS_COLUMNS)) as rows:
        file_column, class_column = _find_columns(path, rows.fieldnames or ())
        for row in rows:
            photo, cell = ((row[name] or "").strip() for name in (file_column, class_column))
            if not photo or not cell:
                raise ConvlensError(
                    f"{path}, line {rows.line_num}: a file or its class is missing; fill it "
                    f"in or remove the line"
                )
            key = table_key(read_csv_text(photo), Path(path).parent)
            yield rows.line_num, key, cell, row


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
            named = classes_named(self._labels or (), second)
            earlier = self._index_of_name.setdefault(second, first)
            disagree = earlier != first or (bool(named) and not named.intersection(classes))
        else:
            try:
                parts = second.split(_SEPARATOR)
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


def _add(table: dict[str, tuple[int, ...]], key: str, classes: tuple[int, ...]) -> None:
    if table.setdefault(key, classes) != classes:
        raise ConvlensError(
            f"{key} stands further up in the file with another class; "
            f"write as much of the photos' paths as tells them apart"
        )
