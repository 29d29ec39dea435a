"""Photos in the rows of Parquet files, read one row group at a time.

At first only the footers of the files are read, and only counts are kept of them. When a photo is
needed, the columns with photos and names are read for its whole row group, which this process keeps
for the neighboring photos. A row group that is too large is read in chunks, from front to back.
"""

import functools
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from convlens.data.datasets.columns import ColumnPath
from convlens.data.datasets.parquet_index import (
    import_parquet,
    one_line,
    read_footer,
    read_index,
)
from convlens.data.datasets.photo_dataset import PhotoFiles
from convlens.data.datasets.sequential import SequentialReader
from convlens.data.file_search import FileSearch
from convlens.data.lru_cache import LRUCache
from convlens.data.photo_files import find_files
from convlens.data.photo_formats import PARQUET_SUFFIX
from convlens.data.photos import EncodedPhoto
from convlens.errors import ConvlensError, PhotoError

_LONGEST_NAME = 200  # bytes, as a name becomes that of a folder
# By default Arrow reads a whole column and holds it until the end.
_READ_OPTIONS = {"buffer_size": 1 << 20, "pre_buffer": False}

# Caches of this process, which are not pickled with a data set.
_photo_cache: "LRUCache[_RowGroupColumns]" = LRUCache(64 << 20)
_name_cache: "LRUCache[list[str | None]]" = LRUCache(16 << 20)
_reader_cache: "LRUCache[SequentialReader[Any]]" = LRUCache(0)


@dataclass(frozen=True)
class _RowGroupColumns:
    """Arrow columns of a row group, or of a chunk of it."""

    bytes: Any
    path: Any
    name: Any


class ParquetPhotos:
    """Photos in the rows of Parquet files.

    Every data set pass accepts it in place of paths. It keeps only counts of rows, so any process
    can be sent a copy, which reads the row groups that it needs. A photo whose row is null
    or whose bytes are damaged is skipped as a damaged file is.

    Example:
        >>> import convlens, pyarrow.parquet
        >>> table = pyarrow.table({"image": [b"bytes of a PNG"], "file": ["cat.png"]})
        >>> pyarrow.parquet.write_table(table, "photos.parquet")
        >>> photos = convlens.ParquetPhotos("photos.parquet")
        >>> len(photos), photos.name(0)
        (1, 'cat.png')
    """

    def __init__(self, files: str | Path | Sequence[str | Path], column: str | None = None) -> None:
        """Read the footers of the files.

        A photo's name is its path if it has one. If its column holds plain bytes, the name is the
        value of a text column called file, filename, name or path or, if there is none, the name
        of the Parquet file with the number of the row, from 0, such as `train-000123`.

        Args:
            files: a Parquet file, a folder or a glob (`.parquet`, visible files), or several of
                these. Photos are ordered by the paths of the files, then by row.
            column: column with the photos: bytes of image files; or paths, relative to the
                folder of the Parquet file; or a struct with `bytes`, `path` or both, as in Hugging
                Face data sets. Default: the only column of such a type, bytes before paths, or
                else the one called image, bytes, photo, path, file or filename.

        Raises:
            ConvlensError: pyarrow is not installed; a file that does not exist or is not Parquet;
                no rows; no column or several columns with photos, or not the same one in all files.
        """
        import_parquet()  # its absence is the first thing to report
        arguments = [files] if isinstance(files, (str, Path)) else files
        search = FileSearch((PARQUET_SUFFIX,))
        matches = (path for name in arguments for path in find_files(name, search))
        paths = sorted({path.resolve(): path for path in matches}.values())
        if not paths:
            raise ConvlensError(
                f"no {PARQUET_SUFFIX} files in {', '.join(map(str, arguments)) or 'an empty list'}"
            )
        index = read_index(paths, column)
        if index is None:
            raise ConvlensError(f"no photos: {', '.join(map(str, arguments))} has no rows")
        self._files = PhotoFiles(paths)
        self._base = str(Path.cwd())  # other processes may work in another folder
        self._index = index
        self.column = index.column

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Path | EncodedPhoto:
        """The bytes of a photo with its name, or the path of its file.

        Raises:
            PhotoError: the row is null or cannot be read.
        """
        file, group, row = self._index.locate(index)
        chunk, row_in_chunk = divmod(row, int(self._index.chunk_rows[group]))
        read = functools.partial(self._read_chunk, file, group, chunk)
        try:
            rows = _photo_cache.get((self._index.identity, group, chunk), read)
        except PhotoError as error:
            raise PhotoError(f"{self._row_name(file, group, row)} {error}") from error
        if rows.bytes is not None:
            data = rows.bytes[row_in_chunk].as_py()
            if data is not None:
                name = None
                if rows.name is not None:
                    name = self._usable_name(file, _text(rows.name[row_in_chunk]))
                return EncodedPhoto(data, name or self._row_name(file, group, row))
        path = None if rows.path is None else _text(rows.path[row_in_chunk])
        if not path:
            raise PhotoError(
                f"{self.name(index)} is null in column {self.column} of {self._files.name(file)}; "
                f"leave its row out"
            )
        return Path(self._base, self._files[file].parent, path)

    def name(self, index: int) -> str:
        """The photo's path, its name in the table, or the file's name with the row."""
        file, group, row = self._index.locate(index)
        name = None if self._index.columns.name is None else self._names_in_table(file, group)[row]
        return name or self._row_name(file, group, row)

    def fingerprints(self) -> list[str]:
        """Name of each photo, size and modification time of its Parquet file and its own file."""
        lines = []
        for file in range(len(self._files)):
            try:
                status = Path(self._base, self._files[file]).stat()
                # Another column of the same files holds other photos with the same names.
                stamp = f"{self.column!r},{status.st_size} {status.st_mtime_ns}"
            except OSError:
                stamp = "missing"
            for group in self._index.groups_of(file):
                for row, name_in_table in enumerate(self._names_in_table(file, group)):
                    name = name_in_table or self._row_name(file, group, row)
                    has_files = self._index.has_files[group]
                    own_stamp = self._own_file_stamp(file, name) if has_files else ""
                    lines.append(f"{name} {stamp}{own_stamp}")
        return lines

    def _own_file_stamp(self, file: int, name: str) -> str:
        """Size and modification time of a photo's own file, if it has one."""
        in_name = self._index.columns.only_paths  # the folder is in the name then
        folder = "" if in_name else self._files[file].parent
        try:
            status = Path(self._base, folder, name).stat()
        except OSError:
            return ""
        return f",{status.st_size},{status.st_mtime_ns}"

    def _names_in_table(self, file: int, group: int) -> Sequence[str | None]:
        """The names that the table gives the photos of a row group, None where it gives none."""
        if self._index.columns.name is None:
            return [None] * self._index.rows_of(group)
        read = functools.partial(self._read_names, file, group)
        return _name_cache.get((self._index.identity, group), read)

    def _row_name(self, file: int, group: int, row: int) -> str:
        """Name of the file with the number of a row."""
        return f"{self._files[file].stem}-{self._index.row_in_file(file, group, row):06d}"

    def _usable_name(self, file: int, text: str | None) -> str | None:
        """A name from the table, if a folder can have it: a table's content is not trusted."""
        if not text or not text.isprintable():
            return None
        last = PurePath(text).name
        if not last or last.startswith(".") or len(os.fsencode(last)) > _LONGEST_NAME:
            return None
        return str(self._files[file].parent / text) if self._index.columns.only_paths else text

    def _read_chunk(self, file: int, group: int, chunk: int) -> tuple[_RowGroupColumns, int]:
        """The columns of a row group, or of a chunk of it, and their size in bytes."""
        columns = self._index.columns
        chunk_rows = int(self._index.chunk_rows[group])
        if chunk_rows >= self._index.rows_of(group):
            table = self._read_table(file, group, columns.column_paths)
        else:
            read = functools.partial(self._stream_chunks, file, group, chunk_rows)
            reader = _reader_cache.get(
                (self._index.identity, group), lambda: (SequentialReader(read), 1)
            )
            table = reader[chunk]
        parts = (_column(table, path) for path in (columns.bytes, columns.path, columns.name))
        return _RowGroupColumns(*parts), table.nbytes

    def _read_names(self, file: int, group: int) -> tuple[list[str | None], int]:
        """The names in a row group, and about how many bytes they take."""
        column = self._index.columns.name
        assert column is not None
        try:
            table = self._read_table(file, group, [column])
        except PhotoError:  # reported when the photo itself is read
            count = self._index.rows_of(group)
            return [None] * count, 8 * count
        texts = _column(table, column)
        names = [self._usable_name(file, _text(scalar)) for scalar in texts]
        return names, table.nbytes + 60 * len(texts)

    def _read_table(self, file: int, group: int, columns: Sequence[ColumnPath]) -> Any:
        """Some columns of a row group."""
        with self._open(file) as parquet_file:
            return parquet_file.read_row_group(
                self._index.group_in_file(file, group),
                columns=[".".join(column) for column in columns],
                use_threads=False,  # many photos are decoded at the same time already
            )

    def _stream_chunks(self, file: int, group: int, chunk_rows: int) -> Generator[Any]:
        """All rows of a row group, a number of rows at a time."""
        import pyarrow as pa

        with self._open(file) as parquet_file:
            batches = parquet_file.iter_batches(
                chunk_rows,
                row_groups=[self._index.group_in_file(file, group)],
                columns=[".".join(column) for column in self._index.columns.column_paths],
                use_threads=False,
            )
            pending = None
            for batch in batches:  # Arrow may give fewer rows than it was asked for
                table = pa.Table.from_batches([batch])
                pending = table if pending is None else pa.concat_tables([pending, table])
                while pending.num_rows >= chunk_rows:
                    yield pending.slice(0, chunk_rows)
                    pending = pending.slice(chunk_rows)
            if pending is not None and pending.num_rows:
                yield pending

    @contextmanager
    def _open(self, file: int) -> Iterator[Any]:
        """A Parquet file; an error while it is read becomes a PhotoError for each of its photos."""
        parquet = import_parquet()
        path = Path(self._base, self._files[file])
        try:
            _check_unchanged(path, int(self._index.sizes[file]))
            footer = read_footer(path, self._index.identity)
            with parquet.ParquetFile(path, metadata=footer, **_READ_OPTIONS) as parquet_file:
                yield parquet_file
        except (PhotoError, MemoryError):
            raise
        except Exception as error:  # Arrow raises errors of any type for a damaged file
            raise PhotoError(f"cannot be read: {path} is damaged ({one_line(error)})") from error


def _check_unchanged(path: Path, size: int) -> None:
    if path.stat().st_size != size:
        raise PhotoError(f"cannot be read: {path} has changed; do not change it during a run")


def _column(table: Any, path: ColumnPath | None) -> Any:
    """A column of a table or a field of a struct column; null where the struct is null."""
    if path is None:
        return None
    import pyarrow.compute as pc

    column = table.column(path[0])
    return column if len(path) == 1 else pc.struct_field(column, path[1])


def _text(scalar: Any) -> str | None:
    try:
        text: str | None = scalar.as_py()
    except UnicodeDecodeError:  # Parquet does not check that text is UTF-8
        return None
    return text
