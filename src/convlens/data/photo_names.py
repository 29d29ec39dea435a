"""Photos of one name: told apart, and found again, by as much of their paths as that takes."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from convlens.errors import ConvlensError


def shortest_unique_paths(paths: Sequence[str | Path]) -> list[str]:
    """The shortest end of each path that no other has: the file's name, where that is enough.

    Two paths that are the same, or of which one is the end of the other, keep what there is.
    """
    parts = [PurePath(path).parts for path in paths]
    names = ["/".join(one[-1:]) for one in parts]
    alike = _alike(names, parts, range(len(names)))
    depth = 1
    while alike:
        depth += 1
        for at in alike:
            names[at] = str(PurePath(*parts[at][-depth:]))
        alike = [at for at in _alike(names, parts, alike) if depth < len(parts[at])]
    return names


def unique_folder_names(paths: Sequence[str | Path], taken: Iterable[str] = ()) -> list[str]:
    """A name of a folder for each path, no two alike: a-same.jpg and b-same.jpg.

    Args:
        paths: of photos; one that is given twice gets two names.
        taken: names that none of them may have.
    """
    used, names = set(taken), []
    for short in shortest_unique_paths(paths):
        plain = "-".join(part for part in PurePath(short).parts if part != os.sep)
        name, number = plain, 1
        while name in used:
            number += 1
            name = f"{number}-{plain}"
        used.add(name)
        names.append(name)
    return names


def table_key(text: str, folder: Path) -> str:
    """What a file says the path of a photo is, as a key of a table that `find_keys` looks up.

    Args:
        text: an absolute path stands for itself, and so does what begins with `.`, from the
            folder, or, where nothing lies there, from the working directory. Anything else is
            the end of a path.
        folder: that of the file.
    """
    if text.startswith("."):
        there = folder / text
        text = os.path.abspath(there if there.exists() else text)  # noqa: PTH100 # follows no links
    return os.path.normpath(text)


def find_key(path: str | Path, table: Mapping[str, Any]) -> str | None:
    """The key of a table that is a photo's whole path or the longest end of it, or None."""
    return _entry(path, table, len(Path(path).parts) + len(Path.cwd().parts))


def find_keys(
    paths: Iterable[str | Path], table: Mapping[str, Any], *, repeated: bool = True
) -> list[str | None]:
    """The key of each photo in a table, as `find_key` finds it.

    Args:
        paths: of the photos.
        table: by whole paths or ends of paths, such as same.jpg and b/same.jpg.
        repeated: equal paths are one photo given twice; rows of a table may be called alike and
            be two photos.

    Raises:
        ConvlensError: a key that stands for two photos.
    """
    depth = max((len(PurePath(key).parts) for key in table), default=0)
    found: list[str | None] = []
    owners: dict[str, str] = {}
    for path in map(str, paths):
        key = _entry(path, table, depth)
        found.append(key)
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
            first, second = shortest_unique_paths([os.path.abspath(one) for one in (owner, path)])  # noqa: PTH100
            raise ConvlensError(
                f"{key!r} is the name of {owner} and of {path}; write as much of their paths as "
                f"tells them apart, such as {first} and {second}"
            )
    return found


def _entry(path: str | Path, table: Mapping[str, Any], depth: int) -> str | None:
    whole = os.path.abspath(path)  # noqa: PTH100 # a link has the name that it has
    if whole in table:
        return whole
    parts = whole.split(os.sep)  # noqa: PTH206 # text, as this is done for every photo
    for count in range(min(depth, len(parts) - 1), 0, -1):
        end = os.sep.join(parts[-count:])  # noqa: PTH118
        if end in table:
            return end
    return None


def _alike(
    names: Sequence[str], parts: Sequence[tuple[str, ...]], among: Collection[int]
) -> list[int]:
    """Those among some whose name is that of another path too."""
    owners: dict[str, set[tuple[str, ...]]] = {}
    for at in among:
        owners.setdefault(names[at], set()).add(parts[at])
    return [at for at in among if len(owners[names[at]]) > 1]
