"""Atomic writes: a file or folder appears complete under its name, or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.errors import ConvlensError, suggest

if TYPE_CHECKING:
    from torch import Tensor

_RESULT_SUFFIXES = {".csv", ".html", ".json", ".png", ".safetensors"}  # files that we write


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    r"""Write a file atomically: the block writes to a temporary name beside `path`.

    If the block succeeds, the temporary file is renamed to `path` in one step. If it fails in any
    way, the temporary file is removed, and a file that already exists at `path` stays as it is.

    Args:
        path: name of the file. Missing folders are made. A symbolic link is followed, so that the
            file that it points to is replaced.

    Yields:
        A path in the same folder with the same suffix, at which nothing exists yet.

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
    target = Path(path).resolve()
    temporary = _temporary_beside(target)
    missing = _missing_folders(target)
    try:
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "no ordinary file"
            raise ConvlensError(f"cannot write {path}: it is {kind}; give the name of a file")
        _check_parents(path, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):  # no such file after a success
            temporary.unlink()
        _remove_empty(missing)


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
        ConvlensError: `path` is a file or a folder of another kind, or the folder cannot be
            written.
    """
    target = Path(path).resolve()
    temporary, replaced = _temporary_beside(target), _temporary_beside(target)
    missing = _missing_folders(target)
    try:
        check_replaceable_folder(path, marker=marker)
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            _swap(temporary, target, replaced)
        else:
            temporary.rename(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
        _remove_empty(missing)


def check_replaceable_folder(path: str | Path, *, marker: str) -> None:
    """Check, before any long work, that `atomic_folder` accepts a path.

    Args:
        path: name of the folder.
        marker: name of a file that every folder of this kind holds.

    Raises:
        ConvlensError: `atomic_folder` refuses the path.
    """
    target = Path(path).resolve()
    _check_parents(path, target)
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


def _temporary_beside(target: Path) -> Path:
    # Hidden, so that no glob finds it. The suffix stays, as some writers choose a format by it.
    return target.with_name(f".convlens-{secrets.token_hex(4)}{target.suffix}")


def _check_parents(path: str | Path, target: Path) -> None:
    nearest = next(parent for parent in target.parents if parent.exists())
    if not nearest.is_dir():
        raise ConvlensError(f"cannot write {path}: {nearest} is a file; give another place")


def _missing_folders(target: Path) -> list[Path]:
    """Parents of a path that do not exist, the innermost first."""
    return [parent for parent in target.parents if not parent.exists()]


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders that were made for a file that was not written."""
    for folder in folders:
        try:
            folder.rmdir()  # fails if the folder is not empty
        except OSError:
            return


def _swap(new: Path, target: Path, replaced: Path) -> None:
    target.rename(replaced)
    try:
        new.rename(target)
    except OSError:
        replaced.rename(target)
        raise


def _unwritable(path: str | Path, error: OSError) -> ConvlensError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ConvlensError(f"cannot write {path}: {reason}; choose another place or make room there")
