"""Files below a folder: links are followed once, and what convlens has written is left out."""

import fnmatch
import glob
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from convlens.files import holds_results
from convlens.text import composed, printable

_ANY_DEPTH = "**"  # in a glob pattern: any number of folders


@dataclass
class FileSearch:
    """Finds the files of certain formats below folders and for glob patterns.

    Attributes:
        suffixes: suffixes of file names in lower case with the dot.
        out: folder that will hold the results, or None. Files below it are left out, as are files
            in folders that hold results of convlens: output is not input.
        results: the files that were left out.
        problems: sentences about links to nothing and folders that cannot be read.
    """

    suffixes: Collection[str]
    out: Path | None = None
    results: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def in_folder(self, folder: Path) -> list[Path]:
        """The visible files below a folder, sorted by path.

        A file that is a link to nothing is among them, so that it is named where it is read.
        """
        return self._keep(sorted(self._walk(folder)), str(folder))

    def matching(self, pattern: str) -> list[Path]:
        """The visible files that a glob pattern matches, sorted; `**` matches subfolders."""
        parts = Path(pattern).parts
        magic = next(at for at, part in enumerate(parts) if glob.has_magic(part))
        root = str(Path(*parts[:magic]))
        if _ANY_DEPTH not in parts:
            # glob.glob, as Path.glob takes no absolute patterns.
            matches = [Path(path) for path in glob.glob(pattern)]  # noqa: PTH207
        else:  # by walking, as glob.glob would follow a loop of links many times
            below = parts[magic:]
            files = self._walk(Path(root))
            matches = [path for path in files if _matches(path.relative_to(root).parts, below)]
        return self._keep(sorted(path for path in matches if self._is_wanted(path)), root)

    def _walk(self, folder: Path) -> Iterator[Path]:
        """Files below a folder. Folders come before links to folders, and no folder comes twice."""
        visited: set[tuple[int, int]] = set()
        folders, links = [folder], list[Path]()
        while folders or links:
            current = folders.pop() if folders else links.pop(0)
            try:
                status = current.stat()
                if (status.st_dev, status.st_ino) in visited:
                    continue
                visited.add((status.st_dev, status.st_ino))
                entries = sorted(os.scandir(current), key=lambda entry: entry.name)
            except OSError as error:
                self.problems.append(f"{current} cannot be read ({error.strerror})")
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = current / entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_symlink() and path.is_dir():
                    links.append(path)
                elif self._is_wanted(path):
                    yield path
                elif entry.is_symlink() and not path.suffix and not os.path.exists(path):  # noqa: PTH110
                    self.problems.append(f"{path} {describe_broken_link(path)}")

    def _is_wanted(self, path: Path) -> bool:
        if path.name.startswith(".") or path.suffix.lower() not in self.suffixes:
            return False
        return os.path.isfile(path) or is_broken_link(path)  # noqa: PTH113 # raises nothing

    def _keep(self, paths: list[Path], root: str) -> list[Path]:
        """The paths that are no results; the others are added to `results`."""
        real_folder = cache(os.path.realpath)  # there may be many files in a folder
        root = os.path.realpath(root)
        out = os.path.realpath(self.out) if self.out is not None else None

        @cache
        def holds_results_here(folder: str) -> bool:
            """Whether a folder or one above it, up to the root, holds results or will do so."""
            above = os.path.dirname(folder)  # noqa: PTH120 # strings, as there may be many
            return holds_results(Path(folder)) or (
                folder not in (root, above) and holds_results_here(above)
            )

        @cache
        def is_below_out(folder: str) -> bool:
            return out is not None and os.path.commonpath([folder, out]) == out

        photos: list[Path] = []
        for path in paths:
            folder = real_folder(os.path.dirname(path))  # noqa: PTH120
            is_result = is_below_out(folder) or holds_results_here(folder)
            (self.results if is_result else photos).append(path)
        return photos


def is_broken_link(path: Path) -> bool:
    """Whether a path is a link that leads to nothing, or in a circle."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114 # raise nothing


def describe_broken_link(path: Path) -> str:
    """Where a link to nothing leads, as the end of a sentence that begins with its path."""
    return f"is a link to {printable(os.readlink(path))}, which does not exist"  # noqa: PTH115


def find_existing(path: Path) -> Path:
    """The file that a path names, also where its name has another Unicode form on the disk.

    Returns:
        The path of the file; `path` itself if there is none.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    current = Path(path.anchor)
    for part in path.parts[len(current.parts) :]:
        if not os.path.lexists(current / part):
            try:
                names = os.listdir(current)  # noqa: PTH208 # names only
            except OSError:
                return path
            same = (name for name in names if composed(name) == composed(part))
            part = next(same, part)  # noqa: PLW2901
        current /= part
    return current if os.path.lexists(current) else path


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether the parts of a path match the parts of a glob pattern."""
    if not pattern:
        return not parts
    if pattern[0] == _ANY_DEPTH:
        return any(_matches(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    return (
        bool(parts)
        and fnmatch.fnmatchcase(parts[0], pattern[0])
        and _matches(parts[1:], pattern[1:])
    )
