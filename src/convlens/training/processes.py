"""Training with several processes: launching, checking that they agree, and ending together."""

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
from convlens.runtime.threads import children_limit_spinning
from convlens.training.checkpoints import lock_run_folder

STRATEGIES = ("auto", "ddp")
DEVICES = ("auto", "cpu", "cuda", "mps")

_ADDRESSES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
# Words in the errors of gloo, NCCL and the store when a process or its machine is gone.
_LOST = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe", "TCPStore")

MessageCallback = Callable[[str], None]
T = TypeVar("T")


def make_fabric(device: str, devices: int, num_nodes: int, strategy: str, precision: str) -> Any:
    """Configure Lightning Fabric without launching processes.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        devices: number of devices on each machine.
        num_nodes: number of machines.
        strategy: `auto` or `ddp`.
        precision: a precision of Fabric, e.g. `32-true`.

    Raises:
        ConvlensError: Fabric is not installed, or the devices or the precision are not available.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError as error:
        raise ConvlensError(
            'training needs Lightning Fabric: pip install "convlens[train]"'
        ) from error
    for word, value, allowed in (("device", device, DEVICES), ("strategy", strategy, STRATEGIES)):
        if value not in allowed:
            raise ConvlensError(f"{word} {value!r} for training; give {', '.join(allowed)}")
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
            f"cannot train on {devices} x {device} with precision {precision}: "
            f"{_first_sentence(error)}"
        ) from error


def launch(fabric: Any, num_nodes: int, on_message: MessageCallback) -> None:
    """Start the other processes of this machine and wait for those of other machines.

    Args:
        fabric: the object that `make_fabric` returns.
        num_nodes: number of machines.
        on_message: called with a sentence if there are other machines to wait for.

    Raises:
        ConvlensError: the machines do not find each other.
    """
    if num_nodes > 1:
        environment = fabric.strategy.cluster_environment
        node, port = environment.node_rank(), environment.main_port
        if environment.local_rank() == 0:
            on_message(
                f"machine {node} of 0 to {num_nodes - 1} waits for the others at "
                f"{environment.main_address}:{port}"
            )
    log = logging.getLogger("lightning_fabric")
    level = log.level
    log.setLevel(logging.WARNING)  # Fabric's banner repeats the message above
    try:
        with children_limit_spinning():
            fabric.launch()
    except (ValueError, RuntimeError, OSError) as error:
        raise ConvlensError(
            f"the processes do not find each other: {_first_sentence(error)}"
        ) from error
    finally:
        log.setLevel(level)


def run_everywhere(fabric: Any, function: Callable[[], T], *, per_machine: int) -> T:
    """Call a function in every process, and fail in all of them if it fails in one.

    Without this, processes in which it succeeds would wait forever for those in which it failed.

    Args:
        fabric: Lightning Fabric, launched.
        function: called without arguments; may raise ConvlensError.
        per_machine: number of processes on each machine.

    Returns:
        The function's return value in this process.

    Raises:
        ConvlensError: the function raised it in any process.
    """
    if fabric.world_size == 1:
        return function()
    try:
        outcome, failed = function(), None
    except ConvlensError as error:
        failed = error
    for process, reason in enumerate(
        _gather_objects(fabric, None if failed is None else str(failed))
    ):
        if failed is not None:
            raise failed
        if reason is not None:
            raise ConvlensError(f"on machine {process // per_machine}: {reason}")
    return outcome


def check_same_options(fabric: Any, options: dict[str, Any], *, per_machine: int) -> None:
    """Raise ConvlensError in all processes if they were started with different options.

    Otherwise each process would compute its gradients with its own options, and their average
    would be the gradient of no training.

    Args:
        fabric: Lightning Fabric, launched.
        options: the options of this process by name.
        per_machine: number of processes on each machine.
    """
    if fabric.world_size == 1:
        return
    first, *others = _gather_objects(fabric, options)
    for process, process_options in enumerate(others, start=1):
        for name, value in first.items():
            if process_options.get(name) != value:
                raise ConvlensError(
                    f"machine 0 has {name.replace('_', ' ')} {value} and machine "
                    f"{process // per_machine} {process_options.get(name)}; give all the same"
                )


def broadcast_tensors(fabric: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Send the tensors of the first process to all processes.

    Args:
        fabric: Lightning Fabric, launched.
        tensors: tensors on the CPU by name; those of other processes than the first are ignored.

    Returns:
        The tensors of the first process.
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
def lock_on_first_process(fabric: Any, folder: Path) -> Iterator[Run | None]:
    """Lock the run folder in the first process and tell the others which run it holds."""
    if fabric.world_size == 1:
        with lock_run_folder(folder) as run:
            yield run
        return
    # Every process must learn of an error, or the others would wait forever for the first.
    if fabric.global_rank == 0:
        holder = lock_run_folder(folder)
        try:
            outcome: tuple[Run | None, str | None] = (holder.__enter__(), None)
        except ConvlensError as error:
            outcome = (None, str(error))
        run, refused = fabric.broadcast(outcome)
        if refused:
            raise ConvlensError(refused)
        try:
            yield run
        finally:
            holder.__exit__(None, None, None)
    else:
        run, refused = fabric.broadcast(None)
        if refused:
            raise ConvlensError(refused)
        yield run


@contextmanager
def report_lost_processes(fabric: Any) -> Iterator[None]:
    """Turn the loss of another process into a ConvlensError."""
    try:
        yield
    except ConvlensError:
        # Closed in order, because a connection that breaks while a process ends aborts it.
        if fabric.world_size > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        raise
    except RuntimeError as error:
        if fabric.world_size == 1 or not any(word in str(error) for word in _LOST):
            raise
        raise ConvlensError(
            "another process of this training has ended or cannot be reached; see its messages, "
            "and give the same command on all machines again: it goes on from the last checkpoint"
        ) from error


def _check_started(devices: int, num_nodes: int) -> None:
    """Raise ConvlensError if the processes would wait for others that are never started."""
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


def _gather_objects(fabric: Any, value: Any) -> list[Any]:
    """The objects of all processes, in the order of the processes."""
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, value)
    return gathered


def _first_sentence(error: Exception) -> str:
    """The first sentence of an exception's message."""
    return " ".join(str(error).split()).partition(". ")[0]
