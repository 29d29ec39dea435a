"""Photo files that the user names: paths, folders, globs and lists of paths."""

import glob
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from convlens.data.photo_formats import NOT_A_PHOTO, PARQUET_SUFFIX, photo_suffixes
from convlens.errors import ConvlensError, suggest

_LIST = ".txt"


def find_photos(arguments: Sequence[str | Path]) -> list[Path]:
    """The photos that files, folders, globs and lists name, each once, in the order given.

    Args:
        arguments: a file is taken whatever its name; a folder stands for all photos in it and
            below, sorted; in a glob `**` reaches below. In folders and globs, only visible files
            with the ending of an image count. A file that ends in `.txt` is a list in UTF-8: a
            line for each photo, its path from the list's folder; blank lines and lines that begin
            with # are left out.

    Raises:
        ConvlensError: nothing of that name, or no photos in it; a list's line that names no file,
            with the line; a table of photos, which only some commands read.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        for path in _expand(Path(argument)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def find_files(argument: str | Path, endings: Collection[str]) -> list[Path]:
    """A file, whatever its name; of a folder and below, or of a glob, files with some endings.

    Args:
        argument: the file, the folder or the glob.
        endings: in small letters, with the dot.

    Returns:
        The visible ones, sorted; none where there are none.

    Raises:
        ConvlensError: nothing of that name.
    """
    # os.path, as pathlib raises for a name that is too long, such as a whole list in quotes.
    if os.path.isfile(argument):  # noqa: PTH113
        return [Path(argument)]
    if os.path.isdir(argument):  # noqa: PTH112
        folder = Path(argument)
        return sorted(path for path in folder.rglob("*") if _counts(path, folder, endings))
    if not glob.has_magic(str(argument)):
        raise ConvlensError(f"{argument} does not exist{suggest_sibling(Path(argument))}")
    # glob.glob, as Path.glob takes no absolute patterns.
    found = (Path(path) for path in glob.glob(str(argument), recursive=True))  # noqa: PTH207
    return sorted(path for path in found if _counts(path, path.parent, endings))


def _expand(argument: Path) -> list[Path]:
    if argument.suffix.lower() == _LIST and os.path.isfile(argument):  # noqa: PTH113
        return _listed(argument)
    found = find_files(argument, photo_suffixes())
    if found:
        return [_no_table(path) for path in found]
    for path in find_files(argument, (PARQUET_SUFFIX,)):
        _no_table(path)
    if argument.is_dir():
        raise ConvlensError(f"no photos in {argument}; give a folder with image files")
    raise ConvlensError(f"{argument} matches no photos; quote it or check its folder")


def _listed(path: Path) -> list[Path]:
    """The photos of a list."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConvlensError(f"cannot read {path} ({error.strerror}); give a text file") from error
    except UnicodeDecodeError as error:
        raise ConvlensError(f"{path} is not text in UTF-8 ({error}); save it as such") from error
    found = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        photo = path.parent / name
        if not os.path.isfile(photo):  # noqa: PTH113 # names that are too long, as above
            folder = os.path.isdir(photo)  # noqa: PTH112
            reason = (
                "is a folder; a line names one photo"
                if folder
                else f"does not exist{suggest_sibling(photo)}"
            )
            raise ConvlensError(f"{path}, line {number}: {photo} {reason}")
        try:
            found.append(_no_table(photo))
        except ConvlensError as error:
            raise ConvlensError(f"{path}, line {number}: {error}") from None
    if not found:
        raise ConvlensError(f"{path} lists no photos; write one path a line")
    return found


def _no_table(path: Path) -> Path:
    if path.suffix.lower() == PARQUET_SUFFIX:
        raise ConvlensError(f"{path} {NOT_A_PHOTO}")
    return path


def _counts(path: Path, folder: Path, endings: Collection[str]) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in endings and path.is_file()


def suggest_sibling(path: Path) -> str:
    try:
        return suggest(path.name, (sibling.name for sibling in path.parent.iterdir()))
    except OSError:
        return ""
