"""Photos out of Parquet files, a row each, read a row group at a time.

Of the files only the footers are read at the start, and only counts are kept of them. When a photo
is asked for, the columns that hold photos and names are read of its row group, which stays at hand
in this process for the photos beside it.
"""

import bisect
import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import numpy as np

from convlens.errors import ConvlensError, PhotoError, nearest
from convlens.photos import TABLE, Encoded, matching
from convlens.sweep.shelf import Shelf
from convlens.sweep.source import Paths

_COLUMNS = ("image", "bytes", "photo", "path", "file", "filename")
_NAMES = ("file", "filename", "name", "path")
_BYTES = ("binary", "large_binary", "binary_view")  # Arrow's names of types
_TEXT = ("string", "large_string", "string_view")
_LONGEST = 200  # bytes of a name, as it becomes that of a folder
_TOLD = 12  # columns that an error names
_BUFFER = 1 << 20  # bytes; a row group is read in such pieces, not all at once beside its columns

_photos: "Shelf[_Group]" = Shelf(64 << 20)
_names: "Shelf[list[str | None]]" = Shelf(16 << 20)

Leaf = tuple[str, ...]  # a column, or a column and a field in it


@dataclass(frozen=True)
class _Columns:
    """Where a file has its photos: in bytes, or at paths, or one where the other is missing."""

    bytes: Leaf | None
    path: Leaf | None
    name: Leaf | None

    @property
    def opens(self) -> bool:
        """Whether all photos lie in files of their own, whose paths are their names."""
        return self.bytes is None


@dataclass(frozen=True)
class _Group:
    """A row group's columns, of Arrow."""

    bytes: Any
    path: Any
    name: Any


class ParquetPhotos:
    """The photos of Parquet files, for `patches`, `gradcams`, `fragility`, `shift`, `invariance`.

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
        found = {path.resolve(): path for one in given for path in matching(one, (TABLE,))}
        paths = sorted(found.values())
        if not paths:
            raise ConvlensError(f"no {TABLE} files in {', '.join(map(str, given)) or 'no list'}")
        self._files = Paths(paths)
        self._base = str(Path.cwd())  # other processes may work in another folder
        sizes, groups, rows, outside = [], [0], [0], []
        first: tuple[Path, str, _Columns] | None = None
        for path in paths:
            try:
                sizes.append(path.stat().st_size)
                with parquet.ParquetFile(path) as file:
                    footer, schema = file.metadata, file.schema_arrow
            except (OSError, ValueError, NotImplementedError) as error:  # Arrow's are of these
                raise ConvlensError(
                    f"{path} cannot be read as Parquet ({_words(error)}); copy it again"
                ) from error
            if not footer.num_rows:
                groups.append(groups[-1])
                continue
            chosen = _columns(path, schema, column)
            first = first or (path, *chosen)
            if chosen != first[1:]:
                raise ConvlensError(
                    f"{path} has its photos elsewhere ({_told(*chosen)}) than {first[0]} "
                    f"({_told(*first[1:])}); give the column, or one kind at a time"
                )
            groups.append(groups[-1] + footer.num_row_groups)
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                rows.append(rows[-1] + group.num_rows)
                outside.append(_outside(footer.schema, group, chosen[1]))
        if first is None:
            raise ConvlensError(f"no photos: {', '.join(map(str, given))} has no rows")
        _, self.column, self._columns = first
        # Arrays, as in `Paths`: another process reads them where they lie.
        self._sizes = np.array(sizes, dtype=np.int64)
        self._groups = np.array(groups, dtype=np.int64)  # the first group of each file
        self._rows = np.array(rows, dtype=np.int64)  # the first photo of each group
        self._outside = np.array(outside, dtype=bool)

    def __len__(self) -> int:
        return int(self._rows[-1])

    def __getitem__(self, number: int) -> Path | Encoded:
        """A photo's bytes with its name, or the path where it lies.

        Raises:
            PhotoError: its row is null, or cannot be read.
        """
        file, group, row = self._find(number)
        try:
            held = _photos.get(self._key(file, group), functools.partial(self._read, file, group))
        except PhotoError as error:
            raise PhotoError(f"{self._numbered(file, group, row)} {error}") from error
        if held.bytes is not None:
            data = held.bytes[row].as_py()
            if data is not None:
                name = None if held.name is None else self._named(file, _text(held.name[row]))
                return Encoded(data, name or self._numbered(file, group, row))
        path = None if held.path is None else _text(held.path[row])
        if not path:
            raise PhotoError(
                f"{self.name(number)} is null in column {self.column} of {self._files.name(file)}; "
                f"leave its row out"
            )
        return Path(self._base, self._files[file].parent, path)

    def name(self, number: int) -> str:
        """A photo's path, its name in the table, or the file's name with the row."""
        file, group, row = self._find(number)
        told = None
        if self._columns.name is not None:
            read = functools.partial(self._read_names, file, group)
            told = _names.get(self._key(file, group), read)[row]
        return told or self._numbered(file, group, row)

    def marks(self) -> list[str]:
        """Name, size and time of change of each photo's Parquet file, and of its own file."""
        marks = []
        for file in range(len(self._files)):
            try:
                found = Path(self._base, self._files[file]).stat()
                # Another column of the same files holds other photos of the same names.
                stamp = f"{self.column!r},{found.st_size} {found.st_mtime_ns}"
            except OSError:
                stamp = "missing"
            for group in range(self._groups[file], self._groups[file + 1]):
                for number in range(self._rows[group], self._rows[group + 1]):
                    own = self._own(number, file) if self._outside[group] else ""
                    marks.append(f"{self.name(number)} {stamp}{own}")
        return marks

    def _own(self, number: int, file: int) -> str:
        """More of a mark, for a photo that may lie in a file of its own."""
        folder = "" if self._columns.opens else self._files[file].parent  # else in the name
        place = Path(self._base, folder, self.name(number))
        try:
            found = place.stat()
        except OSError:
            return ""
        return f",{found.st_size},{found.st_mtime_ns}"

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

    def _key(self, file: int, group: int) -> tuple[Any, ...]:
        path = str(Path(self._base, self._files[file]))
        return path, int(self._sizes[file]), group - int(self._groups[file]), self._columns

    def _read(self, file: int, group: int) -> tuple[_Group, int]:
        """The columns of a row group, and their bytes."""
        columns = self._columns
        leaves = [one for one in (columns.bytes, columns.path, columns.name) if one is not None]
        table = self._table(file, group, leaves)
        parts = (_leaf(table, one) for one in (columns.bytes, columns.path, columns.name))
        return _Group(*parts), table.nbytes

    def _read_names(self, file: int, group: int) -> tuple[list[str | None], int]:
        """The names in a row group, and about how many bytes they take."""
        assert self._columns.name is not None
        try:
            table = self._table(file, group, [self._columns.name])
        except PhotoError:  # told where the photo itself is read
            count = int(self._rows[group + 1] - self._rows[group])
            return [None] * count, 8 * count
        texts = _leaf(table, self._columns.name)
        return [self._named(file, _text(one)) for one in texts], table.nbytes + 60 * len(texts)

    def _table(self, file: int, group: int, leaves: Sequence[Leaf]) -> Any:
        path, size = Path(self._base, self._files[file]), int(self._sizes[file])
        parquet = _pyarrow()
        with _one_line(path):
            if path.stat().st_size != size:
                raise PhotoError(f"cannot be read: {path} has changed; leave it alone meanwhile")
            footer = _footer(path, size)
            with parquet.ParquetFile(path, metadata=footer, buffer_size=_BUFFER) as opened:
                return opened.read_row_group(
                    group - int(self._groups[file]),
                    columns=list(dict.fromkeys(".".join(leaf) for leaf in leaves)),
                    use_threads=False,  # many photos are decoded at a time as it is
                )


@functools.lru_cache(maxsize=4)
def _footer(path: Path, size: int) -> Any:
    """A file's footer; of another size it is another file."""
    return _pyarrow().read_metadata(path)


def _columns(path: Path, schema: Any, wanted: str | None) -> tuple[str, _Columns]:
    """The column that holds photos, and what is read of a file.

    Raises:
        ConvlensError: none does, or several do, or the one that is wanted does not.
    """
    fields = {field.name: _plain(field.type) for field in schema}
    for name in {wanted, *_COLUMNS}:
        if schema.names.count(name) > 1:
            raise ConvlensError(f"{path} has several columns {name!r}; rename them")
    found = {name: one for name, kind in fields.items() if (one := _holding(name, kind))}
    listed = ", ".join(f"{name} ({_short(kind)})" for name, kind in list(fields.items())[:_TOLD])
    listed += ", …" * (len(fields) > _TOLD)
    if wanted is None:
        inside = [name for name, one in found.items() if not one.opens]
        likely = inside or list(found)
        called = [name for name in _COLUMNS if name in likely]
        if not likely:
            raise ConvlensError(
                f"{path} has no column with photos (bytes, paths, or a struct of both): {listed}"
            )
        if len(likely) > 1 and not called:
            raise ConvlensError(
                f"{path} has several columns that may hold photos; name one of {', '.join(likely)}"
            )
        wanted = called[0] if called else likely[0]
    if wanted not in fields:
        close = nearest(wanted, fields) or f": {listed}"
        raise ConvlensError(f"{path} has no column {wanted!r}{close}")
    if wanted not in found:
        raise ConvlensError(
            f"column {wanted!r} of {path} holds {_short(fields[wanted])}; photos are bytes, paths, "
            f"or a struct of both"
        )
    one = found[wanted]
    if one.path is not None:
        return wanted, _Columns(one.bytes, one.path, one.path)
    named = (name for name in _NAMES if str(fields.get(name)) in _TEXT and name != wanted)
    beside = next(named, None)
    return wanted, _Columns(one.bytes, None, (beside,) if beside is not None else None)


def _holding(name: str, kind: Any) -> _Columns | None:
    """How a column may hold photos."""
    if str(kind) in _BYTES:
        return _Columns((name,), None, None)
    if str(kind) in _TEXT:
        return _Columns(None, (name,), None)
    if not str(kind).startswith("struct<"):
        return None
    inner = {field.name: str(_plain(field.type)) for field in kind}
    data = (name, "bytes") if inner.get("bytes") in _BYTES else None
    path = (name, "path") if inner.get("path") in _TEXT else None
    return _Columns(data, path, None) if data or path else None


def _plain(kind: Any) -> Any:
    """The type of a column's values, where they are numbered in a dictionary too."""
    return kind.value_type if str(kind).startswith("dictionary<") else kind


def _short(kind: Any) -> str:
    return str(kind).partition("<")[0]


def _told(column: str, columns: _Columns) -> str:
    parts = (("bytes", columns.bytes), ("paths", columns.path), ("names", columns.name))
    kinds = [f"{kind} in {'.'.join(leaf)}" for kind, leaf in parts if leaf]
    return f"column {column}: {', '.join(kinds)}"


def _outside(schema: Any, group: Any, columns: _Columns) -> bool:
    """Whether some photos of a row group may lie in files of their own."""
    if columns.bytes is None or columns.path is None:
        return columns.opens
    leaf = ".".join(columns.bytes)
    at = next(number for number in range(len(schema)) if schema.column(number).path == leaf)
    known = group.column(at).statistics
    return known is None or not known.has_null_count or known.null_count > 0


def _leaf(table: Any, leaf: Leaf | None) -> Any:
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


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Every error of reading a row group as one PhotoError, that each of its photos tells."""
    try:
        yield
    except (PhotoError, MemoryError):
        raise
    except Exception as error:  # Arrow raises whatever it stumbles over in a damaged file
        raise PhotoError(f"cannot be read: {path} is damaged ({_words(error)})") from error


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
