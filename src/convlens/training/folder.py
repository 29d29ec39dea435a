"""The run folder: one owner at a time, checkpoints that are whole or not there.

A checkpoint is written into a folder of its own. The description, which names the checkpoints that
count, is then replaced in one step; folders that it does not name are leftovers and are removed.
Killed at any moment, the run is as it was after the last such step.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.files import atomic_file, write_tensors
from convlens.models.loading.run_folder import DESCRIPTION, WEIGHTS, Run, read_run_folder

OPTIMIZER = "optimizer.safetensors"
_LOCK = ".lock"
_STEP = "step-{:07d}"
_CHECKPOINT = re.compile(r"\.?step-\d{7,}")
_TEMPORARY = re.compile(r"\.convlens-[0-9a-f]{8}(\.\w+)?")


@contextmanager
def owned(folder: Path) -> Iterator[Run | None]:
    """The run folder for this process alone, made if it is not there.

    The lock goes with the process, also when it is killed.

    Yields:
        The run to go on with, or None for a new one.

    Raises:
        ConvlensError: another process trains there, it holds other files, or it cannot be
            written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise ConvlensError(
            f"{folder} is in use by another training; wait for it, or give another --out"
        ) from None
    except OSError as error:
        raise ConvlensError(f"cannot write {folder} ({error.strerror or error})") from error
    try:
        yield _found(folder)
    finally:
        lock.release()


def save(
    folder: Path,
    description: dict[str, Any],
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
) -> None:
    """Write a checkpoint and make the description point to it.

    Args:
        folder: the run folder.
        description: what becomes `convlens.json`; the checkpoint is the one that it calls the
            last, and those that it does not name are removed.
        weights: the network's state.
        optimizer: what training goes on with.

    Raises:
        ConvlensError: it cannot be written; what was there before still counts.
    """
    target = folder / description["checkpoints"]["last"]
    try:
        if target.name not in _counted(folder):
            partial = folder / f".{target.name}"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            write_tensors(partial / WEIGHTS, weights)
            write_tensors(partial / OPTIMIZER, optimizer)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        with atomic_file(folder / DESCRIPTION) as temporary:
            temporary.write_text(
                json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    except OSError as error:
        raise ConvlensError(
            f"cannot save the training in {folder} ({error}); make room there and start again: "
            f"it goes on from the last checkpoint"
        ) from error
    prune(folder, description)


def checkpoint_name(step: int) -> str:
    """The folder of the checkpoint after so many steps."""
    return _STEP.format(step)


def optimizer_state(found: Run) -> dict[str, Tensor]:
    """What the optimizer goes on with, as the last checkpoint has it.

    Raises:
        ConvlensError: the file is missing or damaged.
    """
    path = found.folder / found.description["checkpoints"]["last"] / OPTIMIZER
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConvlensError(
            f"{path} cannot be read ({error}); the training cannot go on from there, "
            f"give another --out"
        ) from error


def checkpoints_in(description: dict[str, Any]) -> set[str]:
    """The checkpoints that a description names."""
    named = description["checkpoints"]
    return {named["last"], named["best"], *named["scheduled"]}


def _found(folder: Path) -> Run | None:
    inside = {path.name for path in folder.iterdir()}
    if DESCRIPTION in inside:
        return read_run_folder(folder)
    # Killed before its first checkpoint counted, it holds that one's parts at most.
    begun = {checkpoint_name(0), f".{checkpoint_name(0)}"}
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if path.name != _LOCK and not (_ours(path) and (path.name in begun or path.is_file()))
    )
    if foreign:
        raise ConvlensError(
            f"{folder} holds other files ({', '.join(foreign[:3])}) and no {DESCRIPTION}; "
            f"give a new or an empty folder"
        )
    return None


def _counted(folder: Path) -> set[str]:
    path = folder / DESCRIPTION
    return checkpoints_in(read_run_folder(folder).description) if path.is_file() else set()


def _ours(path: Path) -> bool:
    """Whether it is a checkpoint, or a file that was being written: by name and by content."""
    if path.is_dir():
        inside = {WEIGHTS, OPTIMIZER}
        return bool(_CHECKPOINT.fullmatch(path.name)) and all(
            one.name in inside for one in path.iterdir()
        )
    return bool(_TEMPORARY.fullmatch(path.name))


def prune(folder: Path, description: dict[str, Any]) -> None:
    """Remove the checkpoints that do not count, and what only the last one needs from the others.

    Args:
        folder: the run folder.
        description: names those that count.
    """
    named = checkpoints_in(description)
    for path in folder.iterdir():
        if not _ours(path):
            continue
        if path.is_file():
            path.unlink(missing_ok=True)
        elif path.name not in named:
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != description["checkpoints"]["last"]:
            (path / OPTIMIZER).unlink(missing_ok=True)
