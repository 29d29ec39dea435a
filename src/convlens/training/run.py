"""`train`: data in, a run folder out."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError, suggest
from convlens.models.loading.run_folder import WEIGHTS, Run
from convlens.models.loading.weight_files import load_weights, read_state_dict
from convlens.models.model import Model
from convlens.results import Result
from convlens.training.batch_size import fitting_batch
from convlens.training.data import Dataset, open_data
from convlens.training.description import best, compare, describe, new_model, state_of
from convlens.training.folder import optimizer_state, prune, save
from convlens.training.logs import add_to_board, check_log, write_csv
from convlens.training.loop import Reports, State, fit, optimizer_for, steps_of
from convlens.training.processes import (
    agreed,
    check_same,
    ending_together,
    fabric_for,
    from_first,
    launch,
    owned_by_first,
)
from convlens.training.recipe import Recipe, recipe_for

Tell = Callable[[str, int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Training(Result):
    """A training that has come to its end.

    Attributes:
        folder: the run folder, as text; `convlens.load` takes it.
        recipe: every choice that was made, by name.
        data: what it was trained on.
        labels: names of the classes by index.
        images: how many were trained on.
        validated: how many it was validated on.
        held_out: where those come from, in words.
        skipped: the files that were left out, with the reasons.
        history: a row for each epoch: epoch, step, loss and validation_loss (nats),
            validation_accuracy (share), learning_rate, seconds (of the process that ran it).
        best_step: after which step the validation accuracy was highest.
        best_accuracy: that accuracy. The step was chosen on the validation images, so it is a
            little too good.
        accuracy: share of the validation images that the final network answers rightly.
        parameters: how many the network has.
    """

    folder: str
    recipe: dict[str, Any]
    data: str
    labels: tuple[str, ...]
    images: int
    validated: int
    held_out: str
    skipped: tuple[str, ...]
    history: tuple[dict[str, float], ...]
    best_step: int
    best_accuracy: float
    accuracy: float
    parameters: int


def train(
    data: str | Path | Dataset = "digits",
    *,
    out: str | Path,
    size: int | tuple[int, int] | None = None,
    validation: float = 0.1,
    strict: bool = False,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    precision: str = "32-true",
    log: str = "csv",
    save_every: float = 60.0,
    progress: Tell = lambda stage, done, total: None,
    say: Say = lambda sentence: None,
    **choices: Any,
) -> Training:
    """Train one of the chapter's networks, or go on with a training that was stopped.

    The run folder holds the best and the last checkpoint (safetensors and JSON), checkpoints where
    they are asked for, and a log. Stopped at any moment, also killed in the middle of a save, and
    started again with the same arguments, the training ends as if it had never been stopped: on
    the CPU equal in every bit, with the same number of threads and devices. (With 16-mixed the
    scale of the loss starts anew, which the first steps after a stop then notice.)

    Several devices on one machine start this very program once more for each further device.
    Several machines each read the data; the first one alone reads and writes the run folder.

    Args:
        data: what `open_data` takes, or what it gave.
        out: the run folder; made if it is not there.
        size: height and width in pixels that photos are resized and cropped to; default: see
            `open_data`.
        validation: share of each class to hold out where the data holds out none.
        strict: raise for a damaged photo instead of leaving it out.
        seed: of everything that is drawn.
        device: auto (an accelerator where there is one), cpu, cuda or mps.
        devices: how many of them on each machine; they share each batch.
        num_nodes: how many machines; the same call runs on each, with MASTER_ADDR, MASTER_PORT
            and NODE_RANK in the environment, or started by torchrun or SLURM.
        strategy: auto, or ddp.
        precision: in Fabric's words: 32-true, bf16-mixed, 16-mixed, bf16-true, …
        log: csv, or tensorboard for that beside it.
        save_every: seconds between saves within an epoch; at each epoch's end it is saved anyway.
        progress: called with a stage, how much is done and how much there is.
        say: called with sentences: what the data is, and each epoch's numbers.
        **choices: fields of `Recipe`; those that are not given, or None, as `recipe_for` has them.

    Raises:
        ConvlensError: data or choices that cannot be used, a run folder that is in use, holds
            other files or a training with other choices, too little memory, a loss that became
            NaN (the last good checkpoint is kept), or an interrupt (all is kept); on several
            machines also other data or choices than the first one has, or a machine that is gone.
    """
    _check(choices, log, save_every)
    fabric = fabric_for(device, devices, num_nodes, strategy, precision)
    launch(fabric, num_nodes, say)
    if fabric.global_rank > 0:
        progress, say = (lambda stage, done, total: None), (lambda sentence: None)

    def opened() -> tuple[Dataset, Recipe]:
        known = (
            data
            if isinstance(data, Dataset)
            else open_data(
                data,
                size=(size, size) if isinstance(size, int) else size,
                validation=validation,
                seed=seed,
                strict=strict,
                progress=progress,
            )
        )
        return known, _shared(recipe_for(known, **choices, seed=seed), choices, fabric.world_size)

    folder = Path(out).expanduser()
    with (
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        _random_state_kept(fabric.device),
        ending_together(fabric),
    ):
        dataset, recipe = agreed(fabric, opened, per_machine=devices)
        chosen = recipe.to_json() | {
            "precision": precision,
            "images with the fingerprint": dataset.fingerprint,
        }
        check_same(fabric, chosen, per_machine=devices)
        for sentence in _told(dataset, recipe):
            say(sentence)
        with owned_by_first(fabric, folder) as found:
            return _run(
                fabric, dataset, recipe, folder, found, log, save_every, progress, say, devices
            )


def _run(
    fabric: Any,
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    found: Run | None,
    log: str,
    save_every: float,
    progress: Tell,
    say: Say,
    per_machine: int,
) -> Training:
    torch.manual_seed(recipe.seed)
    model = new_model(data, recipe)
    network, steps = model.network, steps_of(data, recipe)
    network.to(memory_format=torch.channels_last)
    state = State() if found is None else state_of(found)
    if found is not None:
        compare(found, describe(data, recipe, model, state, steps))
        momenta = agreed(
            fabric,
            lambda: _read(found, network) if fabric.global_rank == 0 else {},
            per_machine=per_machine,
        )
        say(f"goes on after step {state.step:,} of {steps:,}")

    optimizer = optimizer_for(network, recipe)
    # Several devices get the first one's weights here.
    wrapped, stepper = fabric.setup(network, optimizer)
    agreed(fabric, lambda: _check_memory(fabric, model, data, recipe), per_machine=per_machine)

    def keep() -> None:
        if fabric.global_rank == 0:
            description = describe(data, recipe, model, state, steps)
            save(folder, description, network.state_dict(), _momenta(network, optimizer))

    def noted() -> None:
        if fabric.global_rank == 0 and state.history:
            write_csv(folder, state.history)
            if log == "tensorboard":
                add_to_board(folder, state.history[-1])

    def told(row: dict[str, float]) -> None:
        say(
            f"epoch {row['epoch']}/{recipe.epochs}: loss {row['loss']:.3f}, "
            f"{row['validation_accuracy']:.2%} of the validation images right"
        )
        noted()

    if found is None:
        keep()
    else:
        _restore(network, optimizer, from_first(fabric, momenta))
        noted()  # a kill may have come between the checkpoint and the log
    fit(
        fabric,
        wrapped,
        stepper,
        model,
        data,
        recipe,
        state,
        Reports(lambda done: progress("training", done, steps), told, keep),
        save_every=save_every,
    )
    fabric.barrier()
    return _finished(folder, data, recipe, network, state)


def _finished(
    folder: Path, data: Dataset, recipe: Recipe, network: nn.Module, state: State
) -> Training:
    best_step = best(state)
    accuracies = {int(row["step"]): row["validation_accuracy"] for row in state.history}
    return Training(
        folder=str(folder),
        recipe=recipe.to_json(),
        data=data.name,
        labels=data.labels,
        images=len(data.train),
        validated=len(data.validation),
        held_out=data.held_out,
        skipped=tuple(one.reason for one in data.skipped),
        history=tuple(state.history),
        best_step=best_step,
        best_accuracy=accuracies[best_step],
        accuracy=state.history[-1]["validation_accuracy"],
        parameters=sum(p.numel() for p in network.parameters()),
    )


def _told(data: Dataset, recipe: Recipe) -> Iterator[str]:
    height, width = data.size
    kind = "gray" if data.channels == 1 else "color"
    yield (
        f"{data.name}: {len(data.train):,} {kind} images of {height} x {width}, "
        f"{len(data.labels)} classes; {len(data.validation):,} to validate on ({data.held_out})"
    )
    for one in data.skipped[:3]:
        yield f"left out: {one.reason}"
    if len(data.skipped) > 3:
        yield f"left out: {len(data.skipped) - 3} more files that cannot be read"
    yield from data.notes
    yield (
        f"{recipe.network}, {recipe.epochs} epochs, batches of {recipe.batch}, learning rate "
        f"{recipe.learning_rate:g}"
    )


def _check(choices: dict[str, Any], log: str, save_every: float) -> None:
    known = [field.name for field in fields(Recipe) if field.name != "seed"]
    for name in choices:
        if name not in known:
            raise ConvlensError(
                f"train takes no {name!r}{suggest(name, known) or '; see convlens.training.Recipe'}"
            )
    check_log(log)
    if not save_every > 0:
        raise ConvlensError(f"save every {save_every:g} seconds; give more than 0")


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    state = random.getstate()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
    random.setstate(state)


def _shared(recipe: Recipe, choices: dict[str, Any], processes: int) -> Recipe:
    """The recipe, with a batch that the processes can share evenly."""
    over = recipe.batch % processes
    if over and choices.get("batch") is None and recipe.batch > processes:
        return replace(recipe, batch=recipe.batch - over)
    if over:
        raise ConvlensError(
            f"a batch of {recipe.batch} cannot be shared evenly by {processes} devices; "
            f"give a multiple of {processes}"
        )
    return recipe


def _read(found: Run, network: nn.Module) -> dict[str, Tensor]:
    """Fill the network from the last checkpoint; the optimizer's momenta.

    Only the first process does: no other needs to see the run folder.
    """
    weights = found.folder / found.description["checkpoints"]["last"] / WEIGHTS
    load_weights(network, read_state_dict(weights), weights)
    momenta = optimizer_state(found)
    prune(found.folder, found.description)  # what a kill left behind
    return momenta


def _check_memory(fabric: Any, model: Model, data: Dataset, recipe: Recipe) -> None:
    height, width = data.size
    image = torch.zeros(data.channels, height, width, device=fabric.device, dtype=model.dtype)
    fitting_batch(model.network, image, recipe.batch // fabric.world_size)


def _momenta(network: nn.Module, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The optimizer's momentum by the name of the parameter."""
    return {
        name: optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in network.named_parameters()
        if optimizer.state[parameter].get("momentum_buffer") is not None
    }


def _restore(network: nn.Module, optimizer: torch.optim.SGD, momenta: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        if name in momenta:
            own = torch.empty_like(parameter).copy_(momenta[name])
            optimizer.state[parameter]["momentum_buffer"] = own
