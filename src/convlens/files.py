"""Atomic writes: a file or folder appears complete under its name, or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.claims import (
    PREFIX,
    Claim,
    claim_path,
    clear_leftovers,
    lock_file,
    missing_folders,
    real_path,
    remove_empty,
)
from convlens.errors import ConvlensError, suggest

if TYPE_CHECKING:
    from torch import Tensor

RESULT = "result.json"  # marks the folder of a saved result
NUMBERS = "numbers.json"  # marks a folder with the numbers of many photos
REPORT = "report.json"  # marks the folder of a report
CHAPTER = "chapter.json"  # marks the folder of the chapter's figures
EXPLORER = "explorer.json"  # marks the folder of an exported explorer

FIGURE_SUFFIXES = (".svg", ".pdf", ".png")  # of files that figures are drawn to

# Suffixes of the files that convlens writes.
_RESULT_SUFFIXES = {".css", ".csv", ".html", ".js", ".json", ".png", ".safetensors", ".svg"}
# The file that marks a folder of results, with keys at its beginning.
_MARKERS = {
    RESULT: ("format", "result"),
    NUMBERS: ("convlens", "schema"),
    REPORT: ("convlens", "schema"),
    CHAPTER: ("convlens", "schema"),
    EXPLORER: ("convlens", "schema"),
    "manifest.json": ("format", "identity"),  # of the saved state of a pass
}
_MARKER_CHARACTERS = 1000
_LONGEST_SUFFIX = 20


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    r"""Write a file atomically: the block writes to a temporary name beside `path`.

    If the block succeeds, the temporary file is renamed to `path` in one step. If it fails in any
    way, the temporary file is removed, and a file that already exists at `path` stays as it is.

    Args:
        path: name of the file. Missing folders are made. A symbolic link is followed, so that the
            file that it points to is replaced.

    Yields:
        The path of an empty file in the same folder, with the same suffix.

    Raises:
        ConvlensError: `path` is a folder or a device, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> with atomic_file(path) as temporary:
        ...     _ = temporary.write_text("file,score\n")
        >>> path.read_text()
        'file,score\n'
    """
    target = real_path(path)
    missing = missing_folders(target)
    temporary = target.parent / f"{PREFIX}{secrets.token_hex(4)}{_short_suffix(target)}"
    descriptor = None
    try:
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "no ordinary file"
            raise ConvlensError(f"cannot write {path}: it is {kind}; give the name of a file")
        _check_parents(path, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(target.parent)
        descriptor = lock_file(temporary)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):  # no such file after a success
            temporary.unlink()
        if descriptor is not None:
            os.close(descriptor)
        remove_empty(missing)


@contextmanager
def atomic_folder(path: str | Path, *, marker: str) -> Iterator[Path]:
    """Write a folder atomically: the block fills a temporary folder beside `path`.

    If the block succeeds, the temporary folder takes the place of `path`. If it fails in any way,
    the temporary folder is removed, and what already exists at `path` stays as it is.

    Args:
        path: name of the folder.
        marker: name of a file that every folder of this kind holds. An existing folder is replaced
            only if it is empty or holds this file, and only if all its visible files have suffixes
            that we write. A wrong argument therefore never deletes photos or notes.

    Yields:
        An empty folder.

    Raises:
        ConvlensError: `path` is a file or a folder of another kind, another process writes to it,
            or the folder cannot be written.
    """
    with claim_folder(path, marker=marker) as claim:
        try:
            claim.new.mkdir()
            yield claim.new
            check_replaceable_folder(path, marker=marker)  # much time may have passed
            _swap(claim.new, claim)
        except OSError as error:
            raise _unwritable(path, error) from error


@contextmanager
def claim_folder(path: str | Path, *, marker: str) -> Iterator[Claim]:
    """Claim a folder that will be written, before any long work.

    Args:
        path: name of the folder.
        marker: as for `atomic_folder`.

    Raises:
        ConvlensError: `atomic_folder` refuses the path, or another process has claimed it.
    """
    check_replaceable_folder(path, marker=marker)
    with ExitStack() as stack:
        try:
            claim = stack.enter_context(claim_path(path))
            check_replaceable_folder(path, marker=marker)  # of an earlier result moved back
        except OSError as error:
            raise _unwritable(path, error) from error
        yield claim


def replace_folder(source: Path, path: str | Path, *, marker: str) -> None:
    """Let a finished folder take the place of another one.

    Until it has, `source` stays as it is, also if the process is killed.

    Args:
        source: the finished folder. It may lie in another file system.
        path: name of the folder, as for `atomic_folder`.
        marker: as for `atomic_folder`.

    Raises:
        ConvlensError: as `atomic_folder`; or there is no room for a copy in another file system.
    """
    with claim_folder(path, marker=marker) as claim:
        try:
            if source.stat().st_dev == claim.folder.stat().st_dev:
                _swap(source, claim)
                return
            needed = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
            free = shutil.disk_usage(claim.folder).free
            if needed > free:
                raise ConvlensError(
                    f"cannot write {path}: {needed / 1e6:,.0f} MB are needed there and "
                    f"{free / 1e6:,.0f} MB are free; make room there and resume the run"
                )
            shutil.copytree(source, claim.new)
            _swap(claim.new, claim)
            shutil.rmtree(source, ignore_errors=True)
        except OSError as error:
            raise _unwritable(path, error) from error


def check_replaceable_folder(path: str | Path, *, marker: str) -> None:
    """Check that `atomic_folder` accepts a path.

    Args:
        path: name of the folder.
        marker: name of a file that every folder of this kind holds.

    Raises:
        ConvlensError: `atomic_folder` refuses the path.
    """
    target = real_path(path)
    try:
        _check_parents(path, target)
        if target.is_symlink():
            raise ConvlensError(f"cannot write {path}: it is a link that leads in a circle")
        if target.exists() and not target.is_dir():
            raise ConvlensError(f"cannot write {path}: it is a file; give the name of a folder")
        if target.exists() and not (target / marker).is_file() and any(target.iterdir()):
            raise ConvlensError(
                f"{path} holds other files and no {marker}; give a new or an empty folder"
            )
        for file in target.rglob("*") if target.exists() else ():
            hidden = file.name.startswith(".")
            ours = file.suffix in _RESULT_SUFFIXES or file.name == marker or hidden
            if not ours and file.is_file():
                raise ConvlensError(
                    f"{path} holds {file.relative_to(target)}, which convlens does not write, and "
                    f"would be replaced; move that file, or give another folder"
                )
    except OSError as error:
        raise _unwritable(path, error) from error


def find_results(path: str | Path) -> str | None:
    """The name of the file that marks a folder as one of results, or None without such a file.

    Results that a killed process had moved away are moved back first.

    Args:
        path: name of the folder, which need not exist.
    """
    folder = real_path(path)
    clear_leftovers(folder.parent)
    return next((name for name in _MARKERS if (folder / name).is_file()), None)


def holds_results(folder: Path) -> bool:
    """Whether a folder holds results of convlens, or the saved state of a run that was stopped.

    Such a folder has a file that begins as we write it.
    """
    for name, keys in _MARKERS.items():
        path = folder / name
        try:
            if path.is_file():
                with path.open(encoding="utf-8", errors="replace") as file:
                    start = file.read(_MARKER_CHARACTERS)
                if all(f'"{key}":' in start for key in keys):
                    return True
        except OSError:
            continue
    return False


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write tensors as a safetensors file with the system's default permissions.

    `safetensors.torch.save_file` would make a file that only its owner can read.

    Args:
        path: name of the file.
        tensors: tensors by name, on any device.

    Raises:
        OSError: the file cannot be written.
    """
    from safetensors.torch import save  # here, as processes that only decode import no torch

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(on_cpu))


def suggest_sibling(path: Path) -> str:
    """Names in a missing path's folder that are nearest to its own, as `suggest` words them."""
    try:
        return suggest(path.name, (sibling.name for sibling in path.parent.iterdir()))
    except OSError:
        return ""


def _short_suffix(target: Path) -> str:
    """The suffix, by which some writers choose a format, unless it makes the name too long."""
    return target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""


def _check_parents(path: str | Path, target: Path) -> None:
    if not target.name:
        raise ConvlensError(
            f"cannot write {path}: it is the root of the file system; name a folder"
        )
    nearest = next(parent for parent in target.parents if parent.exists())
    if not nearest.is_dir():
        raise ConvlensError(f"cannot write {path}: {nearest} is a file; give another place")


def _swap(new: Path, claim: Claim) -> None:
    """Let a folder take the place of the claimed one."""
    if not claim.path.exists():
        new.rename(claim.path)
        return
    claim.path.rename(claim.old)
    try:
        new.rename(claim.path)
    except OSError:
        claim.old.rename(claim.path)
        raise
    claim.discard(claim.old)


def _unwritable(path: str | Path, error: OSError) -> ConvlensError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ConvlensError(f"cannot write {path}: {reason}; choose another place or make room there")


def check_figure_file(path: str | Path) -> None:
    """Check the suffix of a file to which a figure is to be written.

    Raises:
        ConvlensError: it is none of `FIGURE_SUFFIXES`.
    """
    if Path(path).suffix.lower() not in FIGURE_SUFFIXES:
        raise ConvlensError(
            f"cannot draw to {path}: its format is unknown; give a name that ends in "
            f"{', '.join(FIGURE_SUFFIXES[:-1])} or {FIGURE_SUFFIXES[-1]}"
        )
