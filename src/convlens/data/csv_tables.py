"""CSV files of users, with a header: opened with the separator and the errors that all have."""

import csv
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from convlens.errors import ConvlensError

_SEPARATORS = ",;\t"  # spreadsheets write semicolons where the comma is the decimal mark


@contextmanager
def open_csv(path: str | Path, columns: Collection[str] = ()) -> Iterator["csv.DictReader[str]"]:
    r"""Open a CSV file with a header.

    Args:
        path: file in UTF-8. Cells are separated by the one of comma, semicolon and tab that is most
            frequent in the header.
        columns: names of the columns that are read, in lower case. Default: none.

    Yields:
        The rows, as dictionaries by the names in the header.

    Raises:
        ConvlensError: the file, or a row of it inside the block, cannot be read; two columns that
            are read have the same name.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text("file;class\ncat.jpg;tabby\n")
        >>> with open_csv(path) as rows:
        ...     list(rows)
        [{'file': 'cat.jpg', 'class': 'tabby'}]
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            header = next(file, "")
            separator = max(_SEPARATORS, key=header.count)
            rows = csv.DictReader(chain([header], file), delimiter=separator)
            _check_header(path, rows, columns)
            yield rows
    except OSError as error:
        raise ConvlensError(f"cannot read {path} ({error.strerror}); give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConvlensError(f"{path} is not CSV in UTF-8 ({error}); save it as such") from error


def _check_header(path: str | Path, rows: "csv.DictReader[str]", columns: Collection[str]) -> None:
    names = Counter(name.strip().casefold() for name in rows.fieldnames or ())
    repeated = next((name for name in columns if names[name] > 1), None)
    if repeated is not None:
        raise ConvlensError(
            f"{path}, line 1: {names[repeated]} columns are called {repeated}; rename those that "
            f"do not hold it"
        )
