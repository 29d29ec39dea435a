"""Columns of a Parquet file that hold photos and their names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convlens.errors import ConvlensError, suggest

_PHOTO_COLUMNS = ("image", "bytes", "photo", "path", "file", "filename")
_NAME_COLUMNS = ("file", "filename", "name", "path")
_BINARY_TYPES = ("binary", "large_binary", "binary_view")  # Arrow's names
_TEXT_TYPES = ("string", "large_string", "string_view")
_MOST_LISTED = 12  # columns in an error message

ColumnPath = tuple[str, ...]  # a column, or a column and a field of its struct


@dataclass(frozen=True)
class PhotoColumns:
    """Columns with the photos of a file. If a row has both bytes and a path, the bytes count.

    Attributes:
        bytes: column with the content of image files, or None.
        path: column with paths of image files, or None.
        name: column with names of the photos, or None if the file has none.
    """

    bytes: ColumnPath | None
    path: ColumnPath | None
    name: ColumnPath | None

    @property
    def only_paths(self) -> bool:
        """Whether all photos are files of their own, whose paths are their names."""
        return self.bytes is None

    @property
    def column_paths(self) -> list[ColumnPath]:
        """All columns that are read, each once."""
        columns = (self.bytes, self.path, self.name)
        return list(dict.fromkeys(column for column in columns if column is not None))

    def chunk_metadata(self, schema: Any, row_group: Any) -> dict[ColumnPath, Any]:
        """Metadata of these columns in a row group of a Parquet footer.

        Args:
            schema: schema of the footer (`pyarrow.parquet.ParquetSchema`).
            row_group: `pyarrow.parquet.RowGroupMetaData`.
        """
        known = {".".join(column): column for column in self.column_paths}
        columns = ((known.get(schema.column(at).path), at) for at in range(len(schema)))
        return {column: row_group.column(at) for column, at in columns if column is not None}


def find_photo_columns(path: Path, schema: Any, column: str | None) -> tuple[str, PhotoColumns]:
    """Find the column with the photos of a Parquet file, and the columns that are read with it.

    Args:
        path: the file, for error messages.
        schema: `pyarrow.Schema` of the file.
        column: the column that the user named, or None.

    Returns:
        Name of the column, and where photos, paths and names are.

    Raises:
        ConvlensError: no column or several columns may hold photos, or the named one does not.
    """
    types = {field.name: _value_type(field.type) for field in schema}
    for name in {column, *_PHOTO_COLUMNS}:
        if schema.names.count(name) > 1:
            raise ConvlensError(f"{path} has several columns {name!r}; rename them")
    candidates = {
        name: columns for name, kind in types.items() if (columns := _photo_columns(name, kind))
    }
    listed = ", ".join(
        f"{name} ({_short_type(kind)})" for name, kind in list(types.items())[:_MOST_LISTED]
    )
    listed += ", …" * (len(types) > _MOST_LISTED)
    if column is None:
        with_bytes = [name for name, columns in candidates.items() if not columns.only_paths]
        likely = with_bytes or list(candidates)
        with_usual_name = [name for name in _PHOTO_COLUMNS if name in likely]
        if not likely:
            raise ConvlensError(
                f"{path} has no column with photos (bytes, paths, or a struct of both): {listed}"
            )
        if len(likely) > 1 and not with_usual_name:
            raise ConvlensError(
                f"{path} has several columns that may hold photos; name one of {', '.join(likely)}"
            )
        column = with_usual_name[0] if with_usual_name else likely[0]
    if column not in types:
        hint = suggest(column, types) or f": {listed}"
        raise ConvlensError(f"{path} has no column {column!r}{hint}")
    if column not in candidates:
        raise ConvlensError(
            f"column {column!r} of {path} holds {_short_type(types[column])}; photos are bytes, "
            f"paths, or a struct of both"
        )
    columns = candidates[column]
    if columns.path is not None:
        return column, PhotoColumns(columns.bytes, columns.path, columns.path)
    text_columns = (
        name for name in _NAME_COLUMNS if str(types.get(name)) in _TEXT_TYPES and name != column
    )
    name_column = next(text_columns, None)
    return column, PhotoColumns(columns.bytes, None, (name_column,) if name_column else None)


def describe_columns(column: str, columns: PhotoColumns) -> str:
    """The columns in words, for error messages."""
    parts = (("bytes", columns.bytes), ("paths", columns.path), ("names", columns.name))
    kinds = [f"{kind} in {'.'.join(path)}" for kind, path in parts if path]
    return f"column {column}: {', '.join(kinds)}"


def _photo_columns(name: str, kind: Any) -> PhotoColumns | None:
    """How a column of an Arrow type may hold photos, or None."""
    if str(kind) in _BINARY_TYPES:
        return PhotoColumns((name,), None, None)
    if str(kind) in _TEXT_TYPES:
        return PhotoColumns(None, (name,), None)
    if not str(kind).startswith("struct<"):
        return None
    fields = {field.name: str(_value_type(field.type)) for field in kind}
    data = (name, "bytes") if fields.get("bytes") in _BINARY_TYPES else None
    path = (name, "path") if fields.get("path") in _TEXT_TYPES else None
    return PhotoColumns(data, path, None) if data or path else None


def _value_type(kind: Any) -> Any:
    """The type of a column's values, also if the column is dictionary-encoded."""
    return kind.value_type if str(kind).startswith("dictionary<") else kind


def _short_type(kind: Any) -> str:
    return str(kind).partition("<")[0]
