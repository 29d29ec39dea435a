"""Names of photos: the shortest that tell photos apart, and the keys of tables that name them."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from convlens.errors import ConvlensError
from convlens.text import composed, file_name, printable


def shortest_unique_paths(paths: Sequence[str | Path]) -> list[str]:
    """The shortest end of each path that no other path has: the file name, if that is enough.

    Args:
        paths: paths of photos. Equal paths, and a path that is the end of another, keep all their
            parts.

    Returns:
        One name for each path.

    Example:
        >>> shortest_unique_paths(["x/a/cat.jpg", "x/b/cat.jpg", "x/a/dog.jpg"])
        ['a/cat.jpg', 'b/cat.jpg', 'dog.jpg']
    """
    parts = [PurePath(path).parts for path in paths]
    names = ["/".join(path_parts[-1:]) for path_parts in parts]
    ambiguous = _ambiguous(names, parts, range(len(names)))
    depth = 1
    while ambiguous:
        depth += 1
        for index in ambiguous:
            names[index] = str(PurePath(*parts[index][-depth:]))
        ambiguous = [
            index for index in _ambiguous(names, parts, ambiguous) if depth < len(parts[index])
        ]
    return names


def unique_folder_names(paths: Sequence[str | Path], taken: Iterable[str] = ()) -> list[str]:
    """A folder name for each path, all different, such as a-cat.jpg and b-cat.jpg.

    Args:
        paths: paths of photos; a path that occurs twice gets two names.
        taken: names that must not be used. Default: none.

    Returns:
        One name for each path, as `file_name` writes it. Names are also different on a file
        system that ignores case and Unicode forms.

    Example:
        >>> unique_folder_names(["a/cat.jpg", "b/cat.jpg", "b/cat.jpg"])
        ['a-cat.jpg', 'b-cat.jpg', '2-b-cat.jpg']
    """
    used, names = {_folder_key(name) for name in taken}, []
    for unique_path in shortest_unique_paths(paths):
        joined = file_name("-".join(part for part in PurePath(unique_path).parts if part != os.sep))
        name, number = joined, 1
        while _folder_key(name) in used:
            number += 1
            name = f"{number}-{joined}"
        used.add(_folder_key(name))
        names.append(name)
    return names


def table_key(text: str, folder: Path) -> str:
    """The key under which a table stores the photo that one of its rows names.

    Args:
        text: the name in the row. An absolute path names one file. A path that starts with `.` is
            relative to `folder` or, if nothing exists there, to the working directory. Any other
            path is the end of a photo's path, with folders separated by `/` or, as Windows writes
            them, by backslashes.
        folder: folder of the file that holds the table.

    Returns:
        A key for `find_key` and `find_keys`, in Unicode's composed form.
    """
    if text.startswith((".\\", "..\\")):
        text = text.replace("\\", "/")
    if text.startswith("."):
        beside_table = folder / text
        # abspath, as resolve would follow links
        text = os.path.abspath(beside_table if beside_table.exists() else text)  # noqa: PTH100
    return composed(os.path.normpath(text))


def find_key(path: str | Path, table: Mapping[str, Any]) -> str | None:
    """The key of a table that names a photo.

    Args:
        path: path of the photo.
        table: table with keys from `table_key`.

    Returns:
        The photo's absolute path or the longest end of it that is a key, or None.
    """
    return _find_key(path, table, len(Path(path).parts) + len(Path.cwd().parts))


def find_keys(
    paths: Iterable[str | Path], table: Mapping[str, Any], *, repeated: bool = True
) -> list[str | None]:
    """The key of a table that names each photo, as `find_key` finds it.

    Args:
        paths: paths of the photos.
        table: table with keys from `table_key`, such as cat.jpg and b/cat.jpg.
        repeated: whether equal paths mean the same photo. They do for files; rows of a Parquet file
            can have the same name and be different photos. Default: True.

    Returns:
        One key for each photo, None where the table has none.

    Raises:
        ConvlensError: a key that names two photos.

    Example:
        >>> find_keys(["a/cat.jpg", "b/cat.jpg", "b/dog.jpg"], {"a/cat.jpg": 0, "dog.jpg": 1})
        ['a/cat.jpg', None, 'dog.jpg']
    """
    depth = max((len(PurePath(key.replace("\\", "/")).parts) for key in table), default=0)
    keys: list[str | None] = []
    owners: dict[str, str] = {}
    for path in map(str, paths):
        key = _find_key(path, table, depth)
        keys.append(key)
        if key is None:
            continue
        owner = owners.get(key)
        if owner is None:
            owners[key] = path
        elif owner == path and not repeated:
            raise ConvlensError(
                f"{path!r} is the name of several photos; give them names that tell them apart"
            )
        elif os.path.abspath(owner) != os.path.abspath(path):  # noqa: PTH100
            absolute_paths = [os.path.abspath(photo) for photo in (owner, path)]  # noqa: PTH100
            first, second = shortest_unique_paths(absolute_paths)
            raise ConvlensError(
                f"{key!r} is the name of {owner} and of {path}; write as much of their paths as "
                f"tells them apart, such as {first} and {second}"
            )
    return keys


def describe_unmatched(
    table: Mapping[str, Any], keys: Iterable[str | None], *, most: int = 3
) -> str | None:
    """The entries of a table that name no photo, as a sentence; None if there are none.

    Args:
        table: table with keys from `table_key`.
        keys: the key of each photo, from `find_keys`.
        most: largest number of entries to name; default: 3.

    Example:
        >>> describe_unmatched({"cat.jpg": 0, "dog.jpg": 1}, ["cat.jpg", None])
        '1 of 2 entries fits no photo: dog.jpg'
    """
    matched = set(keys)
    unmatched = [key for key in table if key not in matched]
    if not unmatched:
        return None
    fit = "fits" if len(unmatched) == 1 else "fit"
    more = f" and {len(unmatched) - most:,} more" if len(unmatched) > most else ""
    return (
        f"{len(unmatched):,} of {len(table):,} entries {fit} no photo: "
        f"{', '.join(map(printable, unmatched[:most]))}{more}"
    )


def _find_key(path: str | Path, table: Mapping[str, Any], depth: int) -> str | None:
    absolute = os.path.abspath(path)  # noqa: PTH100 # resolve would follow links
    parts = absolute.split(os.sep)  # noqa: PTH206 # strings, as this runs for every photo
    ends = (os.sep.join(parts[-count:]) for count in range(min(depth, len(parts) - 1), 0, -1))  # noqa: PTH118
    for end in (absolute, *ends):
        # Tables of users, which `table_key` has not made, may have the form of the file system.
        for key in (end,) if end.isascii() else (composed(end), end):
            for spelling in (key, key.replace("/", "\\")):
                if spelling in table:
                    return spelling
    return None


def _folder_key(name: str) -> str:
    return composed(name).casefold()


def _ambiguous(
    names: Sequence[str], parts: Sequence[tuple[str, ...]], indices: Collection[int]
) -> list[int]:
    """Those of some indices whose name is also the name of another path."""
    owners: dict[str, set[tuple[str, ...]]] = {}
    for index in indices:
        owners.setdefault(names[index], set()).add(parts[index])
    return [index for index in indices if len(owners[names[index]]) > 1]
