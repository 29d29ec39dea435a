"""Several processes as one training: they start together, agree, and end together."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.models.loading.run_folder import Run
from convlens.training.folder import owned

STRATEGIES = ("auto", "ddp")
DEVICES = ("auto", "cpu", "cuda", "mps")

_ADDRESSES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
# What gloo, NCCL and the store say when a process or its machine is gone.
_LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "TCPStore")

Say = Callable[[str], None]
T = TypeVar("T")


def fabric_for(device: str, devices: int, num_nodes: int, strategy: str, precision: str) -> Any:
    """Lightning Fabric, not yet launched.

    Raises:
        ConvlensError: it is not installed, or what it is asked for is not there.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        raise ConvlensError(
            'training needs Lightning Fabric: pip install "convlens[train]"'
        ) from error
    for word, value, known in (("device", device, DEVICES), ("strategy", strategy, STRATEGIES)):
        if value not in known:
            raise ConvlensError(f"{word} {value!r} for training; give {', '.join(known)}")
    if min(devices, num_nodes) < 1:
        raise ConvlensError(f"{devices} devices on {num_nodes} machines; give at least 1 of each")
    _check_started(devices, num_nodes)
    try:
        return Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy,
            precision=precision,  # type: ignore[arg-type] # checked by Fabric
        )
    except (MisconfigurationException, ValueError, RuntimeError, TypeError) as error:
        raise ConvlensError(
            f"cannot train on {devices} x {device} with precision {precision}: {_first(error)}"
        ) from error


def launch(fabric: Any, num_nodes: int, say: Say) -> None:
    """Start the further processes of this machine, and wait for those of the others.

    Args:
        fabric: from `fabric_for`.
        num_nodes: how many machines.
        say: called with a sentence where there are others to wait for.

    Raises:
        ConvlensError: the machines do not find each other.
    """
    if num_nodes > 1:
        environment = fabric.strategy.cluster_environment
        node, port = environment.node_rank(), environment.main_port
        if environment.local_rank() == 0:
            say(
                f"machine {node} of 0 to {num_nodes - 1} waits for the others at "
                f"{environment.main_address}:{port}"
            )
    log = logging.getLogger("lightning_fabric")
    level = log.level
    log.setLevel(logging.WARNING)  # its banner says what was just said
    try:
        fabric.launch()
    except (ValueError, RuntimeError, OSError) as error:
        raise ConvlensError(f"the processes do not find each other: {_first(error)}") from error
    finally:
        log.setLevel(level)


def agreed(fabric: Any, work: Callable[[], T], *, per_machine: int) -> T:
    """What the work returns, if it succeeds in all processes.

    Without this, those in which it succeeds would wait for the others.

    Args:
        fabric: launched.
        work: done in each process; may raise ConvlensError.
        per_machine: processes on each machine.

    Raises:
        ConvlensError: in all processes, where it was raised in any.
    """
    if fabric.world_size == 1:
        return work()
    try:
        answer, failed = work(), None
    except ConvlensError as error:
        failed = error
    for process, reason in enumerate(_of_all(fabric, None if failed is None else str(failed))):
        if failed is not None:
            raise failed
        if reason is not None:
            raise ConvlensError(f"on machine {process // per_machine}: {reason}")
    return answer


def check_same(fabric: Any, choices: dict[str, Any], *, per_machine: int) -> None:
    """Raise ConvlensError in all processes where any of them was given other choices.

    Each would train with its own, and the average of their gradients belongs to none of them.

    Args:
        fabric: launched.
        choices: by name.
        per_machine: processes on each machine.
    """
    if fabric.world_size == 1:
        return
    first, *others = _of_all(fabric, choices)
    for process, theirs in enumerate(others, start=1):
        for name, value in first.items():
            if theirs.get(name) != value:
                raise ConvlensError(
                    f"machine 0 has {name.replace('_', ' ')} {value} and machine "
                    f"{process // per_machine} {theirs.get(name)}; give all the same"
                )


def from_first(fabric: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first process's tensors, in all of them.

    Args:
        fabric: launched.
        tensors: by name, on the CPU; those of the other processes are not looked at.
    """
    if fabric.world_size == 1:
        return tensors
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    shapes = fabric.broadcast(shapes)
    received = {}
    for name, (shape, dtype) in shapes.items():
        if fabric.global_rank == 0:
            sent = tensors[name].to(fabric.device).contiguous()
        else:
            sent = torch.empty(shape, dtype=dtype, device=fabric.device)
        torch.distributed.broadcast(sent, 0)
        received[name] = sent
    return received


@contextmanager
def owned_by_first(fabric: Any, folder: Path) -> Iterator[Run | None]:
    """The run folder, held by the first process; the others learn what is in it."""
    if fabric.world_size == 1:
        with owned(folder) as found:
            yield found
        return
    # A refusal must reach all processes, or the others would wait for the first for ever.
    if fabric.global_rank == 0:
        holder = owned(folder)
        try:
            answer: tuple[Run | None, str | None] = (holder.__enter__(), None)
        except ConvlensError as error:
            answer = (None, str(error))
        found, refused = fabric.broadcast(answer)
        if refused:
            raise ConvlensError(refused)
        try:
            yield found
        finally:
            holder.__exit__(None, None, None)
    else:
        found, refused = fabric.broadcast(None)
        if refused:
            raise ConvlensError(refused)
        yield found


@contextmanager
def ending_together(fabric: Any) -> Iterator[None]:
    """Where another process ends or cannot be reached, this one ends with a line that says so."""
    try:
        yield
    except ConvlensError:
        # Left in order: the threads of a connection that breaks as this process ends abort it.
        if fabric.world_size > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        raise
    except RuntimeError as error:
        if fabric.world_size == 1 or not any(word in str(error) for word in _LOST):
            raise
        raise ConvlensError(
            "another process of this training has ended or cannot be reached; see what it said, "
            "and give the same command on all machines again: it goes on from the last checkpoint"
        ) from error


def _check_started(devices: int, num_nodes: int) -> None:
    """Raise ConvlensError where the processes would wait for others that never come."""
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        started = int(os.environ["WORLD_SIZE"])
        if started != devices * num_nodes:
            raise ConvlensError(
                f"torchrun started {started} processes, and {devices} devices on {num_nodes} "
                f"machines are {devices * num_nodes}; give --devices as its --nproc-per-node and "
                f"--num-nodes as its --nnodes"
            )
        return
    if num_nodes == 1 or any(name in os.environ for name in ("SLURM_NTASKS", "LSB_JOBID")):
        return
    missing = [name for name in _ADDRESSES if name not in os.environ]
    if missing:
        raise ConvlensError(
            f"{num_nodes} machines, and no {' and no '.join(missing)} in the environment; give "
            f"each machine the address and a free port of the first one and its own number "
            f"(NODE_RANK, 0 to {num_nodes - 1}), or start it with torchrun"
        )
    for name, most in (("MASTER_PORT", 65_535), ("NODE_RANK", num_nodes - 1)):
        value = os.environ[name]
        if not value.isdecimal() or int(value) > most:
            raise ConvlensError(f"{name} is {value!r}; give a whole number of 0 to {most}")


def _of_all(fabric: Any, mine: Any) -> list[Any]:
    """What each process gave, in their order."""
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, mine)
    return gathered


def _first(error: Exception) -> str:
    """The first sentence of what an exception says."""
    return " ".join(str(error).split()).partition(". ")[0]
