"""Checkpoints in the run folder: locking, atomic saves, and removal of old ones.

A checkpoint is written into a folder of its own. Then the description (`convlens.json`), which
names the valid checkpoints, is replaced atomically; folders that it does not name are leftovers
and are removed. A process that is killed at any moment leaves the run as the last complete save
left it.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.files import atomic_file, write_tensors
from convlens.models.loading.run_folder import Run, read_run_folder
from convlens.models.loading.specs import DESCRIPTION, WEIGHTS
from convlens.text import json_text

OPTIMIZER = "optimizer.safetensors"
_LOCK = ".lock"
_STEP = "step-{:07d}"
_CHECKPOINT = re.compile(r"\.?step-\d{7,}")
_TEMPORARY = re.compile(r"\.convlens-[0-9a-f]{8}(\.\w+)?")


@contextmanager
def lock_run_folder(folder: Path) -> Iterator[Run | None]:
    """Create a run folder if necessary and lock it for this process.

    The operating system releases the lock when the process ends, also when it is killed. A new
    folder to which nothing was written is removed at the end.

    Args:
        folder: the run folder.

    Yields:
        The run to continue, or None for a new one.

    Raises:
        ConvlensError: another process trains in this folder, it holds other files, or it cannot
            be written.
    """
    is_new = not folder.exists()
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
        yield _existing_run(folder)
    finally:
        if is_new and [path.name for path in folder.iterdir()] == [_LOCK]:
            with suppress(OSError):  # some systems remove no file that is open
                (folder / _LOCK).unlink()
                folder.rmdir()
        lock.release()


def save_checkpoint(
    folder: Path,
    description: dict[str, Any],
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
) -> None:
    """Write a checkpoint, then the description that names it.

    Args:
        folder: the run folder.
        description: the new content of `convlens.json`. The checkpoint gets the name that it
            gives to the last one; checkpoints that it does not name are removed.
        weights: the state dictionary of the network.
        optimizer: the momentum by the name of the parameter.

    Raises:
        ConvlensError: the checkpoint cannot be written; the previous ones stay valid.
    """
    target = folder / description["checkpoints"]["last"]
    try:
        if target.name not in _current_checkpoints(folder):
            partial = folder / f".{target.name}"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            write_tensors(partial / WEIGHTS, weights)
            write_tensors(partial / OPTIMIZER, optimizer)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        with atomic_file(folder / DESCRIPTION) as temporary:
            temporary.write_text(json_text(description), encoding="utf-8")
    except OSError as error:
        raise ConvlensError(
            f"cannot save the training in {folder} ({error}); make room there and start again: "
            f"it goes on from the last checkpoint"
        ) from error
    prune_checkpoints(folder, description)


def checkpoint_name(step: int) -> str:
    """Name of the folder for the checkpoint after a number of steps."""
    return _STEP.format(step)


def read_optimizer_state(run: Run, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Read the optimizer's momentum from the last checkpoint.

    Args:
        run: the run folder's description.
        shapes: shape of each parameter of the network by its name.

    Returns:
        The momentum by the name of the parameter; empty before the first step.

    Raises:
        ConvlensError: the file is missing, damaged or of another network.
    """
    path = run.folder / run.description["checkpoints"]["last"] / OPTIMIZER
    try:
        momentum = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConvlensError(
            f"{path} cannot be read ({error}); the training cannot go on from there, "
            f"give another --out"
        ) from error
    if momentum and {name: tensor.shape for name, tensor in momentum.items()} != dict(shapes):
        raise ConvlensError(
            f"{path} is not of the network of this training; the training cannot go on from "
            f"there, give another --out"
        )
    return momentum


def named_checkpoints(description: dict[str, Any]) -> set[str]:
    """Names of the checkpoints that a description lists."""
    named = description["checkpoints"]
    return {named["last"], named["best"], *named["scheduled"]}


def _existing_run(folder: Path) -> Run | None:
    inside = {path.name for path in folder.iterdir()}
    if DESCRIPTION in inside:
        return read_run_folder(folder)
    # A run that was killed during its first save holds parts of that checkpoint at most.
    begun = {checkpoint_name(0), f".{checkpoint_name(0)}"}
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if path.name != _LOCK
        and not (_is_training_file(path) and (path.name in begun or path.is_file()))
    )
    if foreign:
        raise ConvlensError(
            f"{folder} holds other files ({', '.join(foreign[:3])}) and no {DESCRIPTION}; "
            f"give a new or an empty folder"
        )
    return None


def _current_checkpoints(folder: Path) -> set[str]:
    path = folder / DESCRIPTION
    return named_checkpoints(read_run_folder(folder).description) if path.is_file() else set()


def _is_training_file(path: Path) -> bool:
    """Whether a path is a checkpoint or a temporary file of a training, by name and content."""
    if path.is_dir():
        inside = {WEIGHTS, OPTIMIZER}
        return bool(_CHECKPOINT.fullmatch(path.name)) and all(
            entry.name in inside for entry in path.iterdir()
        )
    return bool(_TEMPORARY.fullmatch(path.name))


def prune_checkpoints(folder: Path, description: dict[str, Any]) -> None:
    """Remove checkpoints that the description does not name, and all momentum but the last.

    Args:
        folder: the run folder.
        description: the current content of `convlens.json`.
    """
    named = named_checkpoints(description)
    for path in folder.iterdir():
        if not _is_training_file(path):
            continue
        if path.is_file():
            path.unlink(missing_ok=True)
        elif path.name not in named:
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != description["checkpoints"]["last"]:
            (path / OPTIMIZER).unlink(missing_ok=True)
