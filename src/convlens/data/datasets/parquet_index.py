"""Where the photos of Parquet files are, from the footers of the files alone."""

import bisect
import functools
import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convlens.data.datasets.columns import (
    ColumnPath,
    PhotoColumns,
    describe_columns,
    find_photo_columns,
)
from convlens.errors import ConvlensError

_CHUNK_BYTES = 64 << 20  # of a row group in memory at a time


# Arrays, as in `PhotoFiles`: another process reads them from shared memory.
@dataclass(frozen=True, eq=False)
class ParquetIndex:
    """Where the photos of some Parquet files are. Row groups are numbered over all files.

    Attributes:
        column: name of the column with the photos.
        columns: where photos, paths and names are in a row.
        identity: differs for other files, for changed files, and for other columns.
        sizes: int64 `(files,)`, bytes of each file.
        first_groups: int64 `(files + 1,)`, the first row group of each file; at the end, how many
            there are.
        first_rows: int64 `(row groups + 1,)`, the first photo of each row group; at the end, how
            many there are.
        chunk_rows: int64 `(row groups,)`, how many rows are read at once.
        has_files: bool `(row groups,)`, whether photos may be files of their own.
    """

    column: str
    columns: PhotoColumns
    identity: str
    sizes: NDArray[np.int64]
    first_groups: NDArray[np.int64]
    first_rows: NDArray[np.int64]
    chunk_rows: NDArray[np.int64]
    has_files: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.first_rows[-1])

    def locate(self, photo: int) -> tuple[int, int, int]:
        """Number of the file, of the row group, and of the row in the row group.

        Raises:
            IndexError: there is no such photo.
        """
        if not 0 <= photo < len(self):
            raise IndexError(f"photo {photo} of {len(self)}")
        group = bisect.bisect_right(self.first_rows, photo) - 1
        file = bisect.bisect_right(self.first_groups, group) - 1
        return file, group, int(photo - self.first_rows[group])

    def groups_of(self, file: int) -> range:
        """The row groups of a file."""
        return range(int(self.first_groups[file]), int(self.first_groups[file + 1]))

    def group_in_file(self, file: int, group: int) -> int:
        """The number of a row group within its file."""
        return group - int(self.first_groups[file])

    def rows_of(self, group: int) -> int:
        """The number of rows of a row group."""
        return int(self.first_rows[group + 1] - self.first_rows[group])

    def row_in_file(self, file: int, group: int, row: int) -> int:
        """The number of a row of a row group within its file."""
        return int(self.first_rows[group] + row - self.first_rows[self.first_groups[file]])


def read_index(paths: Sequence[Path], column: str | None) -> ParquetIndex | None:
    """Read the footers of Parquet files.

    Args:
        paths: the files, in the order of their photos.
        column: the column with the photos, or None to find it.

    Returns:
        The index, or None if no file has a row.

    Raises:
        ConvlensError: pyarrow is not installed; a file that is not Parquet; no column or several
            columns with photos, or not the same one in all files.
    """
    sizes: list[int] = []
    group_counts: list[int] = []
    groups: list[_IndexedRowGroup] = []
    first: tuple[Path, str, PhotoColumns] | None = None
    digest = hashlib.sha256()
    for path in paths:
        status, footer, schema = _open_footer(path)
        sizes.append(status.st_size)
        digest.update(os.fsencode(path.absolute()))
        digest.update(f" {status.st_size} {status.st_mtime_ns}\n".encode())
        if not footer.num_rows:
            group_counts.append(0)
            continue
        columns = find_photo_columns(path, schema, column)
        first = first or (path, *columns)
        if columns != first[1:]:
            raise ConvlensError(
                f"{path} has its photos elsewhere ({describe_columns(*columns)}) "
                f"than {first[0]} ({describe_columns(*first[1:])}); "
                f"give the column, or one kind at a time"
            )
        group_counts.append(footer.num_row_groups)
        groups += _row_groups(footer, columns[1])
    if first is None:
        return None
    _, column, photo_columns = first
    return ParquetIndex(
        column=column,
        columns=photo_columns,
        identity=f"{digest.hexdigest()} {photo_columns}",
        sizes=np.array(sizes, dtype=np.int64),
        first_groups=_sums(group_counts),
        first_rows=_sums([group.rows for group in groups]),
        chunk_rows=np.array([group.chunk_rows for group in groups], dtype=np.int64),
        has_files=np.array([group.has_files for group in groups], dtype=np.bool_),
    )


@functools.lru_cache(maxsize=4)
def read_footer(path: Path, identity: str) -> Any:
    """The footer of a file of the data set with this identity."""
    return import_parquet().read_metadata(path)


def import_parquet() -> ModuleType:
    """The module `pyarrow.parquet`.

    Raises:
        ConvlensError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConvlensError(
            f"Parquet files need pyarrow, which is not installed ({error}); "
            f"pip install 'convlens[parquet]'"
        ) from error
    return pyarrow.parquet


def one_line(error: Exception) -> str:
    """The message of an error of Arrow on one line."""
    return " ".join(str(error).split()) or type(error).__name__


class _IndexedRowGroup(NamedTuple):
    """What the index keeps of a row group."""

    rows: int
    chunk_rows: int
    has_files: bool


def _open_footer(path: Path) -> tuple[os.stat_result, Any, Any]:
    """Status, footer (`pyarrow.parquet.FileMetaData`) and `pyarrow.Schema` of a file."""
    parquet = import_parquet()
    try:
        status = path.stat()
        with parquet.ParquetFile(path) as file:
            return status, file.metadata, file.schema_arrow
    except (OSError, ValueError, NotImplementedError) as error:  # Arrow's are of these
        raise ConvlensError(
            f"{path} cannot be read as Parquet ({one_line(error)}); copy it again"
        ) from error


def _row_groups(footer: Any, columns: PhotoColumns) -> list[_IndexedRowGroup]:
    groups = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        metadata = columns.chunk_metadata(footer.schema, group)
        chunk_rows = _rows_per_chunk(group.num_rows, list(metadata.values()))
        groups.append(
            _IndexedRowGroup(group.num_rows, chunk_rows, _may_have_files(columns, metadata))
        )
    return groups


def _rows_per_chunk(rows: int, metadata: Sequence[Any]) -> int:
    """Number of rows of a row group that are read at once."""
    size = sum(column.total_uncompressed_size for column in metadata)
    return max(1, -(-rows // max(1, -(-size // _CHUNK_BYTES))))


def _may_have_files(columns: PhotoColumns, metadata: Mapping[ColumnPath, Any]) -> bool:
    """Whether some photos of a row group may be files of their own."""
    if columns.bytes is None or columns.path is None:
        return columns.only_paths
    statistics = metadata[columns.bytes].statistics
    return statistics is None or not statistics.has_null_count or statistics.null_count > 0


def _sums(counts: Sequence[int]) -> NDArray[np.int64]:
    """The sum of the counts before each of them; at the end, of all of them."""
    return np.array([0, *itertools.accumulate(counts)], dtype=np.int64)
