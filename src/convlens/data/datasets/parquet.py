"""Photos out of Parquet files, a row each, read a row group at a time.

Of the files only the footers are read at the start, and only counts are kept of them. When a photo
is asked for, the columns that hold photos and names are read of its row group, which stays at hand
in this process for the photos beside it. A row group that is too large for that is read in pieces,
from front to back.
"""

import bisect
import functools
import hashlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import numpy as np

from convlens.data.datasets.cache import LRUCache
from convlens.data.datasets.columns import (
    ColumnPath,
    PhotoColumns,
    describe_columns,
    find_photo_columns,
)
from convlens.data.datasets.photo_dataset import PhotoFiles
from convlens.data.datasets.sequential import SequentialReader
from convlens.data.photo_files import find_files
from convlens.data.photo_formats import PARQUET_SUFFIX
from convlens.data.photos import EncodedPhoto
from convlens.errors import ConvlensError, PhotoError

_LONGEST = 200  # bytes of a name, as it becomes that of a folder
# Bytes that are read at a time: Arrow's own way is a whole column, which it holds to the end.
_BUFFER = {"buffer_size": 1 << 20, "pre_buffer": False}
_PIECE = 64 << 20  # bytes of a row group that are held at a time

# What this process has at hand; it does not travel with an album.
_photos: "LRUCache[_Group]" = LRUCache(64 << 20)
_names: "LRUCache[list[str | None]]" = LRUCache(16 << 20)
_large: "LRUCache[SequentialReader[Any]]" = LRUCache(0)


@dataclass(frozen=True)
class _Group:
    """A row group's columns, of Arrow."""

    bytes: Any
    path: Any
    name: Any


class ParquetPhotos:
    """The photos of Parquet files, for `patches`, `gradcams`, `robustness`, `shift`, `invariance`.

    Nothing but counts is kept of the files; any process can be sent one of these, and reads the row
    groups that it needs. A photo whose row is null, or whose bytes are damaged, is left out as a
    damaged file is.
    """

    def __init__(self, files: str | Path | Sequence[str | Path], column: str | None = None) -> None:
        """Read the footers.

        A photo's name is its path where there is one; of plain bytes it is the value of a column
        file, filename, name or path; else the Parquet file's name with the row in it, from 0, such
        as `train-000123`.

        Args:
            files: a Parquet file, a folder or a glob of them (`.parquet`, visible), or several of
                these. Photos are numbered in the order of the files' paths, then by row.
            column: holds the photos: files' bytes; or paths, from the Parquet file's folder; or a
                struct with `bytes`, `path` or both, as Hugging Face data sets have it. Default:
                the only one of that kind, bytes before paths, or else the one that is called
                image, bytes, photo, path, file or filename.

        Raises:
            ConvlensError: pyarrow is not installed; no such file, not Parquet, no rows, no column
                that holds photos or several, or not the same one in all files.
        """
        parquet = _pyarrow()
        given = [files] if isinstance(files, (str, Path)) else files
        found = {
            path.resolve(): path for one in given for path in find_files(one, (PARQUET_SUFFIX,))
        }
        paths = sorted(found.values())
        if not paths:
            raise ConvlensError(
                f"no {PARQUET_SUFFIX} files in {', '.join(map(str, given)) or 'no list'}"
            )
        self._files = PhotoFiles(paths)
        self._base = str(Path.cwd())  # other processes may work in another folder
        sizes, groups, rows, steps, outside = [], [0], [0], [], []
        first: tuple[Path, str, PhotoColumns] | None = None
        digest = hashlib.sha256()
        for path in paths:
            try:
                known = path.stat()
                sizes.append(known.st_size)
                digest.update(os.fsencode(path.absolute()))
                digest.update(f" {known.st_size} {known.st_mtime_ns}\n".encode())
                with parquet.ParquetFile(path) as file:
                    footer, schema = file.metadata, file.schema_arrow
            except (OSError, ValueError, NotImplementedError) as error:  # Arrow's are of these
                raise ConvlensError(
                    f"{path} cannot be read as Parquet ({_words(error)}); copy it again"
                ) from error
            if not footer.num_rows:
                groups.append(groups[-1])
                continue
            chosen = find_photo_columns(path, schema, column)
            first = first or (path, *chosen)
            if chosen != first[1:]:
                raise ConvlensError(
                    f"{path} has its photos elsewhere ({describe_columns(*chosen)}) "
                    f"than {first[0]} ({describe_columns(*first[1:])}); "
                    f"give the column, or one kind at a time"
                )
            groups.append(groups[-1] + footer.num_row_groups)
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                rows.append(rows[-1] + group.num_rows)
                held = chosen[1].within(footer.schema, group)
                steps.append(_step(group.num_rows, list(held.values())))
                outside.append(_outside(chosen[1], held))
        if first is None:
            raise ConvlensError(f"no photos: {', '.join(map(str, given))} has no rows")
        _, self.column, self._columns = first
        # What is at hand in a process is found by this, also after the album was sent to it anew.
        self._identity = f"{digest.hexdigest()} {self._columns}"
        # Arrays, as in `PhotoFiles`: another process reads them where they lie.
        self._sizes = np.array(sizes, dtype=np.int64)
        self._groups = np.array(groups, dtype=np.int64)  # the first group of each file
        self._rows = np.array(rows, dtype=np.int64)  # the first photo of each group
        self._steps = np.array(steps, dtype=np.int64)  # photos of each group that are read at once
        self._outside = np.array(outside, dtype=bool)

    def __len__(self) -> int:
        return int(self._rows[-1])

    def __getitem__(self, number: int) -> Path | EncodedPhoto:
        """A photo's bytes with its name, or the path where it lies.

        Raises:
            PhotoError: its row is null, or cannot be read.
        """
        file, group, row = self._find(number)
        piece, row_in_it = divmod(row, int(self._steps[group]))
        read = functools.partial(self._read, file, group, piece)
        try:
            held = _photos.get((self._identity, group, piece), read)
        except PhotoError as error:
            raise PhotoError(f"{self._numbered(file, group, row)} {error}") from error
        if held.bytes is not None:
            data = held.bytes[row_in_it].as_py()
            if data is not None:
                name = None if held.name is None else self._named(file, _text(held.name[row_in_it]))
                return EncodedPhoto(data, name or self._numbered(file, group, row))
        path = None if held.path is None else _text(held.path[row_in_it])
        if not path:
            raise PhotoError(
                f"{self.name(number)} is null in column {self.column} of {self._files.name(file)}; "
                f"leave its row out"
            )
        return Path(self._base, self._files[file].parent, path)

    def name(self, number: int) -> str:
        """A photo's path, its name in the table, or the file's name with the row."""
        file, group, row = self._find(number)
        told = None if self._columns.name is None else self._told(file, group)[row]
        return told or self._numbered(file, group, row)

    def fingerprints(self) -> list[str]:
        """Name, size and time of change of each photo's Parquet file, and of its own file."""
        fingerprints = []
        for file in range(len(self._files)):
            try:
                found = Path(self._base, self._files[file]).stat()
                # Another column of the same files holds other photos of the same names.
                stamp = f"{self.column!r},{found.st_size} {found.st_mtime_ns}"
            except OSError:
                stamp = "missing"
            for group in range(self._groups[file], self._groups[file + 1]):
                for row, told in enumerate(self._told(file, group)):
                    name = told or self._numbered(file, group, row)
                    own = self._own(file, name) if self._outside[group] else ""
                    fingerprints.append(f"{name} {stamp}{own}")
        return fingerprints

    def _own(self, file: int, name: str) -> str:
        """More of a mark, for a photo that may lie in a file of its own."""
        folder = "" if self._columns.opens else self._files[file].parent  # else in the name
        place = Path(self._base, folder, name)
        try:
            found = place.stat()
        except OSError:
            return ""
        return f",{found.st_size},{found.st_mtime_ns}"

    def _told(self, file: int, group: int) -> Sequence[str | None]:
        """The table's own names in a row group, None where it has none."""
        if self._columns.name is None:
            return [None] * int(self._rows[group + 1] - self._rows[group])
        read = functools.partial(self._read_names, file, group)
        return _names.get((self._identity, group), read)

    def _find(self, number: int) -> tuple[int, int, int]:
        """File, row group among all, and row in it."""
        if not 0 <= number < len(self):
            raise IndexError(f"photo {number} of {len(self)}")
        group = bisect.bisect_right(self._rows, number) - 1
        file = bisect.bisect_right(self._groups, group) - 1
        return file, group, int(number - self._rows[group])

    def _numbered(self, file: int, group: int, row: int) -> str:
        start = self._rows[self._groups[file]]
        return f"{self._files[file].stem}-{self._rows[group] + row - start:06d}"

    def _named(self, file: int, text: str | None) -> str | None:
        """A name of the table, if it can be that of a folder: tables come from anywhere."""
        if not text or not text.isprintable():
            return None
        last = PurePath(text).name
        if not last or last.startswith(".") or len(os.fsencode(last)) > _LONGEST:
            return None
        return str(self._files[file].parent / text) if self._columns.opens else text

    def _read(self, file: int, group: int, piece: int) -> tuple[_Group, int]:
        """The columns of a row group, or of a piece of it, and their bytes."""
        columns = self._columns
        step = int(self._steps[group])
        if step >= self._rows[group + 1] - self._rows[group]:
            table = self._table(file, group, columns.leaves)
        else:
            read = functools.partial(self._stream, file, group, step)
            table = _large.get((self._identity, group), lambda: (SequentialReader(read), 1))[piece]
        parts = (_leaf(table, one) for one in (columns.bytes, columns.path, columns.name))
        return _Group(*parts), table.nbytes

    def _read_names(self, file: int, group: int) -> tuple[list[str | None], int]:
        """The names in a row group, and about how many bytes they take."""
        leaf = self._columns.name
        assert leaf is not None
        try:
            table = self._table(file, group, [leaf])
        except PhotoError:  # told where the photo itself is read
            count = int(self._rows[group + 1] - self._rows[group])
            return [None] * count, 8 * count
        texts = _leaf(table, leaf)
        return [self._named(file, _text(one)) for one in texts], table.nbytes + 60 * len(texts)

    def _table(self, file: int, group: int, leaves: Sequence[ColumnPath]) -> Any:
        """Some columns of a row group."""
        with self._opened(file) as opened:
            return opened.read_row_group(
                group - int(self._groups[file]),
                columns=[".".join(leaf) for leaf in leaves],
                use_threads=False,  # many photos are decoded at a time as it is
            )

    def _stream(self, file: int, group: int, step: int) -> Generator[Any]:
        """All of a row group, so many rows at a time."""
        import pyarrow as pa

        with self._opened(file) as opened:
            batches = opened.iter_batches(
                step,
                row_groups=[group - int(self._groups[file])],
                columns=[".".join(leaf) for leaf in self._columns.leaves],
                use_threads=False,
            )
            rest = None
            for batch in batches:  # of fewer rows, where Arrow finds that better
                table = pa.Table.from_batches([batch])
                rest = table if rest is None else pa.concat_tables([rest, table])
                while rest.num_rows >= step:
                    yield rest.slice(0, step)
                    rest = rest.slice(step)
            if rest is not None and rest.num_rows:
                yield rest

    @contextmanager
    def _opened(self, file: int) -> Iterator[Any]:
        """A file; every error of reading it is one PhotoError, that each of its photos tells."""
        parquet = _pyarrow()
        path = Path(self._base, self._files[file])
        try:
            _same(path, int(self._sizes[file]))
            footer = _footer(path, self._identity)
            with parquet.ParquetFile(path, metadata=footer, **_BUFFER) as opened:
                yield opened
        except (PhotoError, MemoryError):
            raise
        except Exception as error:  # Arrow raises whatever it stumbles over in a damaged file
            raise PhotoError(f"cannot be read: {path} is damaged ({_words(error)})") from error


def _same(path: Path, size: int) -> None:
    if path.stat().st_size != size:
        raise PhotoError(f"cannot be read: {path} has changed; leave it alone meanwhile")


@functools.lru_cache(maxsize=4)
def _footer(path: Path, identity: str) -> Any:
    """A file's footer, as it is in one album."""
    return _pyarrow().read_metadata(path)


def _step(rows: int, held: Sequence[Any]) -> int:
    """How many rows of a row group are read at once."""
    size = sum(one.total_uncompressed_size for one in held)
    return max(1, -(-rows // max(1, -(-size // _PIECE))))


def _outside(columns: PhotoColumns, held: Mapping[ColumnPath, Any]) -> bool:
    """Whether some photos of a row group may lie in files of their own."""
    if columns.bytes is None or columns.path is None:
        return columns.opens
    known = held[columns.bytes].statistics
    return known is None or not known.has_null_count or known.null_count > 0


def _leaf(table: Any, leaf: ColumnPath | None) -> Any:
    """A column of a table, or a field of one; null where the struct is."""
    if leaf is None:
        return None
    import pyarrow.compute as pc

    column = table.column(leaf[0])
    return column if len(leaf) == 1 else pc.struct_field(column, leaf[1])


def _text(scalar: Any) -> str | None:
    try:
        text: str | None = scalar.as_py()
    except UnicodeDecodeError:  # Parquet does not check what it calls text
        return None
    return text


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _pyarrow() -> ModuleType:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConvlensError(
            f"Parquet files need pyarrow, which is not installed ({error}); "
            f"pip install 'convlens[parquet]'"
        ) from error
    return pyarrow.parquet
