"""Photo files that the user names: paths, folders, globs and lists of paths."""

import glob
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from convlens.data.photo_formats import NOT_A_PHOTO, PARQUET_SUFFIX, photo_suffixes
from convlens.errors import ConvlensError
from convlens.files import suggest_sibling

_LIST_SUFFIX = ".txt"


def find_photos(arguments: Sequence[str | Path]) -> list[Path]:
    """The photos that files, folders, globs and lists name, each once, in the given order.

    Args:
        arguments: names of photos.

            - A file is a photo whatever its suffix.
            - A folder stands for all photos in it and in its subfolders, sorted by path.
            - A glob stands for the photos that match it, sorted; `**` matches subfolders.
            - A file with the suffix `.txt` is a list in UTF-8 with the path of one photo a line,
              relative to the list's folder. Blank lines and lines that start with # are ignored.

            In folders and globs only visible files with the suffix of an image format count.

    Returns:
        Paths of the photos.

    Raises:
        ConvlensError: a name that does not exist or holds no photos; a line of a list that names
            no file; a Parquet file, which only data set passes read.
    """
    photos: dict[Path, Path] = {}
    for argument in arguments:
        for path in _expand(Path(argument)):
            photos.setdefault(path.resolve(), path)
    return list(photos.values())


def find_files(argument: str | Path, suffixes: Collection[str]) -> list[Path]:
    """The files with certain suffixes that a path, folder or glob names.

    Args:
        argument: a file, which is accepted whatever its suffix; a folder, which is searched with
            its subfolders; or a glob.
        suffixes: suffixes of file names in lower case with the dot.

    Returns:
        The visible files, sorted by path; empty if there are none.

    Raises:
        ConvlensError: a path that does not exist.
    """
    # os.path, as pathlib raises for a name that is too long, such as a whole list in quotes.
    if os.path.isfile(argument):  # noqa: PTH113
        return [Path(argument)]
    if os.path.isdir(argument):  # noqa: PTH112
        folder = Path(argument)
        return sorted(path for path in folder.rglob("*") if _is_visible(path, folder, suffixes))
    if not glob.has_magic(str(argument)):
        raise ConvlensError(f"{argument} does not exist{suggest_sibling(Path(argument))}")
    # glob.glob, as Path.glob takes no absolute patterns.
    matches = (Path(path) for path in glob.glob(str(argument), recursive=True))  # noqa: PTH207
    return sorted(path for path in matches if _is_visible(path, path.parent, suffixes))


def _expand(argument: Path) -> list[Path]:
    if argument.suffix.lower() == _LIST_SUFFIX and os.path.isfile(argument):  # noqa: PTH113
        return _read_list(argument)
    photos = find_files(argument, photo_suffixes())
    if photos:
        return [_refuse_table(path) for path in photos]
    for path in find_files(argument, (PARQUET_SUFFIX,)):
        _refuse_table(path)
    if argument.is_dir():
        raise ConvlensError(f"no photos in {argument}; give a folder with image files")
    raise ConvlensError(f"{argument} matches no photos; quote it or check its folder")


def _read_list(path: Path) -> list[Path]:
    """The photos that a list names."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConvlensError(f"cannot read {path} ({error.strerror}); give a text file") from error
    except UnicodeDecodeError as error:
        raise ConvlensError(f"{path} is not text in UTF-8 ({error}); save it as such") from error
    photos = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        photo = path.parent / name
        if not os.path.isfile(photo):  # noqa: PTH113 # names that are too long, as above
            if os.path.isdir(photo):  # noqa: PTH112
                reason = "is a folder; a line names one photo"
            else:
                reason = f"does not exist{suggest_sibling(photo)}"
            raise ConvlensError(f"{path}, line {number}: {photo} {reason}")
        try:
            photos.append(_refuse_table(photo))
        except ConvlensError as error:
            raise ConvlensError(f"{path}, line {number}: {error}") from None
    if not photos:
        raise ConvlensError(f"{path} lists no photos; write one path a line")
    return photos


def _refuse_table(path: Path) -> Path:
    if path.suffix.lower() == PARQUET_SUFFIX:
        raise ConvlensError(f"{path} {NOT_A_PHOTO}")
    return path


def _is_visible(path: Path, folder: Path, suffixes: Collection[str]) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in suffixes and path.is_file()
