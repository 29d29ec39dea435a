"""Which columns of a Parquet file hold photos and their names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convlens.errors import ConvlensError, suggest

_COLUMNS = ("image", "bytes", "photo", "path", "file", "filename")
_NAMES = ("file", "filename", "name", "path")
_BYTES = ("binary", "large_binary", "binary_view")  # Arrow's names of types
_TEXT = ("string", "large_string", "string_view")
_TOLD = 12  # columns that an error names

ColumnPath = tuple[str, ...]  # a column, or a column and a field in it


@dataclass(frozen=True)
class PhotoColumns:
    """Where a file has its photos: in bytes, at paths, or at these where bytes are missing.

    Attributes:
        bytes: of the photos, or None.
        path: of the photos, or None.
        name: what the photos are called, or None where the file does not say.
    """

    bytes: ColumnPath | None
    path: ColumnPath | None
    name: ColumnPath | None

    @property
    def opens(self) -> bool:
        """Whether all photos lie in files of their own, whose paths are their names."""
        return self.bytes is None

    @property
    def leaves(self) -> list[ColumnPath]:
        """What is read."""
        found = (self.bytes, self.path, self.name)
        return list(dict.fromkeys(leaf for leaf in found if leaf is not None))

    def within(self, schema: Any, group: Any) -> dict[ColumnPath, Any]:
        """What a footer says of these in a row group."""
        paths = {".".join(leaf): leaf for leaf in self.leaves}
        columns = ((paths.get(schema.column(at).path), at) for at in range(len(schema)))
        return {leaf: group.column(at) for leaf, at in columns if leaf is not None}


def find_photo_columns(path: Path, schema: Any, wanted: str | None) -> tuple[str, PhotoColumns]:
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
        close = suggest(wanted, fields) or f": {listed}"
        raise ConvlensError(f"{path} has no column {wanted!r}{close}")
    if wanted not in found:
        raise ConvlensError(
            f"column {wanted!r} of {path} holds {_short(fields[wanted])}; photos are bytes, paths, "
            f"or a struct of both"
        )
    one = found[wanted]
    if one.path is not None:
        return wanted, PhotoColumns(one.bytes, one.path, one.path)
    named = (name for name in _NAMES if str(fields.get(name)) in _TEXT and name != wanted)
    beside = next(named, None)
    return wanted, PhotoColumns(one.bytes, None, (beside,) if beside is not None else None)


def _holding(name: str, kind: Any) -> PhotoColumns | None:
    """How a column may hold photos."""
    if str(kind) in _BYTES:
        return PhotoColumns((name,), None, None)
    if str(kind) in _TEXT:
        return PhotoColumns(None, (name,), None)
    if not str(kind).startswith("struct<"):
        return None
    inner = {field.name: str(_plain(field.type)) for field in kind}
    data = (name, "bytes") if inner.get("bytes") in _BYTES else None
    path = (name, "path") if inner.get("path") in _TEXT else None
    return PhotoColumns(data, path, None) if data or path else None


def _plain(kind: Any) -> Any:
    """The type of a column's values, where they are numbered in a dictionary too."""
    return kind.value_type if str(kind).startswith("dictionary<") else kind


def _short(kind: Any) -> str:
    return str(kind).partition("<")[0]


def describe_columns(column: str, columns: PhotoColumns) -> str:
    """The same in words."""
    parts = (("bytes", columns.bytes), ("paths", columns.path), ("names", columns.name))
    kinds = [f"{kind} in {'.'.join(leaf)}" for kind, leaf in parts if leaf]
    return f"column {column}: {', '.join(kinds)}"
