"""Photo files that the user names: paths, folders, globs and lists of paths."""

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from convlens.data.file_search import FileSearch, find_existing, is_broken_link
from convlens.data.photo_formats import NOT_A_PHOTO, PARQUET_SUFFIX, photo_suffixes
from convlens.errors import ConvlensError
from convlens.files import suggest_sibling

_LIST_SUFFIX = ".txt"


def _ignore(sentence: str) -> None:
    """The default of `notify`."""


def find_photos(
    arguments: Sequence[str | Path],
    *,
    out: Path | None = None,
    tables: bool = False,
    notify: Callable[[str], None] = _ignore,
) -> list[Path]:
    """The photos that files, folders, globs and lists name, each once, in the given order.

    Args:
        arguments: names of photos.

            - A file is a photo whatever its suffix.
            - A folder stands for all photos in it and in its subfolders, sorted by path. Links to
              folders are followed once; a link to nothing is a photo that cannot be read.
            - A glob stands for the photos that match it, sorted; `**` matches subfolders.
            - A file with the suffix `.txt` is a list in UTF-8 with the path of one photo a line,
              relative to the list's folder. Blank lines and lines that start with # are ignored.

            In folders and globs only visible files with the suffix of an image format count. The
            results of convlens that lie there are no photos.
        out: folder that the results will be written to. What folders and globs name below it is
            left out. Default: none.
        tables: whether Parquet files count too. Default: they are refused.
        notify: called with a sentence about what was left out of folders and globs. Default: not
            called.

    Returns:
        Paths of the photos.

    Raises:
        ConvlensError: a name that does not exist or holds no photos; a line of a list that names
            no file; a Parquet file, which only data set passes read.
    """
    kinds = {PARQUET_SUFFIX, *photo_suffixes()}
    paths: dict[str, Path] = {}
    searches = []
    for argument in arguments:
        search = FileSearch(kinds, out)
        searches.append(search)
        for path in _expand(Path(argument), search, tables=tables):
            paths.setdefault(os.path.realpath(path), path)  # resolve() raises for loops of links
    for sentence in _describe_left_out(searches, paths):
        notify(sentence)
    return list(paths.values())


def find_files(argument: str | Path, search: FileSearch) -> list[Path]:
    """The files that a path, folder or glob names.

    Args:
        argument: a file, which is accepted whatever its suffix; a folder, which is searched with
            its subfolders; or a glob.
        search: finds the files in folders and for globs.

    Returns:
        The visible files, sorted by path; empty if there are none.

    Raises:
        ConvlensError: a path that does not exist.
    """
    path = find_existing(Path(argument))
    # os.path, as pathlib raises for a name that is too long, such as a whole list in quotes.
    if os.path.isfile(path):  # noqa: PTH113
        return [path]
    if os.path.isdir(path):  # noqa: PTH112
        return search.in_folder(path)
    if is_broken_link(path):
        return [path]  # named where it is read
    if os.path.exists(path):  # noqa: PTH110
        raise ConvlensError(f"{argument} is neither a file nor a folder; give an image file")
    if not glob.has_magic(str(argument)):
        raise ConvlensError(f"{argument} does not exist{suggest_sibling(Path(argument))}")
    return search.matching(str(argument))


def _expand(argument: Path, search: FileSearch, *, tables: bool) -> list[Path]:
    if argument.suffix.lower() == _LIST_SUFFIX and os.path.isfile(argument):  # noqa: PTH113
        return _read_list(argument)
    files = find_files(argument, search)
    photos = [path for path in files if path.suffix.lower() != PARQUET_SUFFIX]
    if tables and files:
        return files
    if photos:
        return photos
    for path in files:
        _refuse_table(path)
    if count := len(search.results):
        kind = "file that convlens has written" if count == 1 else "files that convlens has written"
        raise ConvlensError(
            f"no photos in {argument} but {count} {kind}, or that lie below the folder of "
            f"results; name a file to use it"
        )
    if argument.is_dir():
        raise ConvlensError(f"no photos in {argument}; give a folder with image files")
    raise ConvlensError(f"{argument} matches no photos; quote it or check its folder")


def _describe_left_out(searches: Sequence[FileSearch], photos: Mapping[str, Path]) -> Iterator[str]:
    """Sentences about the files that folders and globs hold and that are not used."""
    results = {os.path.realpath(path): path for search in searches for path in search.results}
    left_out = [path for real, path in results.items() if real not in photos]
    if left_out:
        files = f"{len(left_out):,} files" if len(left_out) > 1 else "1 file"
        yield (
            f"{files} in folders of results of convlens, the first {left_out[0]}; "
            f"name a file to use it"
        )
    yield from dict.fromkeys(problem for search in searches for problem in search.problems)


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
        photo = find_existing(path.parent / name)
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
