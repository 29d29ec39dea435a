"""Files and folders that are written whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from convlens.errors import ConvlensError

_KINDS = {".csv", ".html", ".json", ".png", ".safetensors"}  # of files in folders of results


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`, for the block to write its file under.

    When the block succeeds the file is renamed onto `path`, in one step; when it fails in any
    way the file is removed, and what stood at `path` before is still there.

    Yields:
        A path in the same folder, with the same ending, at which nothing exists yet.

    Raises:
        ConvlensError: `path` is a folder or a device, or the file cannot be written.
    """
    # A link is followed, so that the file that it points to is replaced and not the link.
    target = Path(path).resolve()
    temporary = _beside(target)
    made = _missing(target)
    try:
        if target.exists() and not target.is_file():
            what = "a folder" if target.is_dir() else "no ordinary file"
            raise ConvlensError(f"cannot write {path}: it is {what}; give the name of a file")
        _check_above(path, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):  # there is none after a success, or in a place that is no folder
            temporary.unlink()
        _leave(made)


@contextmanager
def atomic_folder(path: str | Path, *, marker: str) -> Iterator[Path]:
    """A temporary folder beside `path`, for the block to fill.

    When the block succeeds the folder takes the place of `path`; when it fails in any way it is
    removed, and what stood at `path` before is still there.

    Args:
        path: the folder that is wanted.
        marker: name of a file that such a folder always holds. An existing folder is replaced
            only if it holds that file or is empty, and no visible file of a kind that is never
            written: nobody's photos or notes are lost to a wrong argument.

    Yields:
        An empty folder.

    Raises:
        ConvlensError: `path` is something else, or the folder cannot be written.
    """
    target = Path(path).resolve()
    temporary, old = _beside(target), _beside(target)
    made = _missing(target)
    try:
        check_replaceable_folder(path, marker=marker)
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            _swap(temporary, target, old)
        else:
            temporary.rename(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        _leave(made)


def check_replaceable_folder(path: str | Path, *, marker: str) -> None:
    """Raise ConvlensError where `atomic_folder` would refuse the path: before long work, say."""
    target = Path(path).resolve()
    _check_above(path, target)
    if target.exists() and not target.is_dir():
        raise ConvlensError(f"cannot write {path}: it is a file; give the name of a folder")
    if target.exists() and not (target / marker).is_file() and any(target.iterdir()):
        raise ConvlensError(
            f"{path} holds other files and no {marker}; give a new or an empty folder"
        )
    for one in target.rglob("*") if target.exists() else ():
        ours = one.suffix in _KINDS or one.name == marker or one.name.startswith(".")
        if not ours and one.is_file():
            raise ConvlensError(
                f"{path} is to be replaced and holds {one.relative_to(target)}, which nothing here "
                f"writes; move it away, or give another folder"
            )


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, readable by whom the system's defaults let read.

    The library's own way to write a file lets nobody but its owner read it.

    Raises:
        OSError: it cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(plain))


def _beside(target: Path) -> Path:
    # Hidden, so that nobody's glob picks it up; the ending stays, as some writers go by it.
    return target.with_name(f".convlens-{secrets.token_hex(4)}{target.suffix}")


def _check_above(path: str | Path, target: Path) -> None:
    above = next(parent for parent in target.parents if parent.exists())
    if not above.is_dir():
        raise ConvlensError(f"cannot write {path}: {above} is a file; give another place")


def _missing(target: Path) -> list[Path]:
    """Folders above that have to be made, the innermost first."""
    return [parent for parent in target.parents if not parent.exists()]


def _leave(made: list[Path]) -> None:
    """Remove those that were made for nothing."""
    for folder in made:
        try:
            folder.rmdir()  # which fails where there is something in it
        except OSError:
            return


def _swap(new: Path, target: Path, old: Path) -> None:
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise


def _unwritable(path: str | Path, error: OSError) -> ConvlensError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ConvlensError(f"cannot write {path}: {reason}; choose another place or make room there")
