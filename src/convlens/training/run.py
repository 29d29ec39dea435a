"""`train`: train a network on labeled images and write a run folder."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError, suggest
from convlens.models.loading.run_folder import Run
from convlens.models.loading.specs import WEIGHTS
from convlens.models.loading.weights.fitting import load_weights
from convlens.models.loading.weights.weight_files import read_weight_file
from convlens.models.model import Model
from convlens.runtime.callbacks import or_ignore
from convlens.training.batch_size import check_batch_fits
from convlens.training.checkpoints import prune_checkpoints, read_optimizer_state
from convlens.training.data import Dataset, open_data
from convlens.training.data.streamed import StreamedImages
from convlens.training.description import (
    build_model,
    check_same_training,
    describe_run,
    read_state,
)
from convlens.training.logs import check_log_format
from convlens.training.loop import Callbacks, TrainingState, fit, make_optimizer, total_steps
from convlens.training.processes import (
    broadcast_tensors,
    check_same_options,
    launch,
    lock_on_first_process,
    make_fabric,
    report_lost_processes,
    run_everywhere,
)
from convlens.training.recipe import Recipe, default_recipe
from convlens.training.result import Training
from convlens.training.run_writer import RunWriter
from convlens.wording import counted, percent

ProgressCallback = Callable[[str, int, int], None]
MessageCallback = Callable[[str], None]


def train(
    data: str | Path | Dataset = "digits",
    *,
    out: str | Path,
    size: int | tuple[int, int] | None = None,
    validation: float = 0.1,
    strict: bool = False,
    stream: bool | None = None,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    precision: str = "32-true",
    log: str = "csv",
    save_every: float = 60.0,
    progress: ProgressCallback | None = None,
    on_message: MessageCallback | None = None,
    **recipe_options: Any,
) -> Training:
    """Train one of the chapter's networks, or continue a training that was stopped.

    The run folder holds the best and the last checkpoint (safetensors and JSON), further
    checkpoints on request, and a log; at the end also a picture of the curves, and photos of some
    validation images with their labels, which `convlens.report` shows where no photos are given. A
    training that was stopped at any moment, even by `kill -9` during a save, continues when it is
    started again with the same arguments. On the CPU it then ends with the same bits as a training
    that was never stopped, given the same number of threads and devices. (With 16-mixed the scale
    of the loss starts again, which changes the first steps after a stop.)

    For several devices on one machine, this program is started once more for each further device.
    With several machines, each of them reads the data; only the first reads and writes the run
    folder.

    Args:
        data: labeled images, or what `open_data` takes; default: scikit-learn's digits.
        out: the run folder; created if it does not exist.
        size: height and width in pixels to which photos are resized and cropped; default: see
            `open_data`.
        validation: share of each class to hold out if the data has no test or validation part;
            default 0.1.
        strict: raise for a damaged photo instead of leaving it out; default: leave it out.
        stream: whether photos in folders are decoded each time they are used, ahead of the network
            and in several threads; the training ends with the same weights. Default: only if their
            pixels would need more than half of the free memory.
        seed: seed of the weights, the order of the images and the augmentation; default 0.
        device: `auto` (an accelerator if there is one), `cpu`, `cuda` or `mps`; default `auto`.
        devices: number of devices on each machine; they share each batch. Default: 1.
        num_nodes: number of machines. The same call runs on each of them, with MASTER_ADDR,
            MASTER_PORT and NODE_RANK in the environment, or started by torchrun or SLURM. Default:
            1.
        strategy: `auto` or `ddp`; default `auto`.
        precision: a precision of Fabric: `32-true`, `bf16-mixed`, `16-mixed`, `bf16-true` and
            others. Default: `32-true`.
        log: `csv`, or `tensorboard` for both; default `csv`.
        save_every: seconds between checkpoints within an epoch; each epoch ends with one. Default:
            60.
        progress: called with a stage, the amount done and the total; default: not called.
        on_message: called with sentences: a description of the data, and the numbers of each epoch.
            Default: not called.
        **recipe_options: fields of `Recipe`, such as `network`, `epochs` and `learning_rate`;
            those left out or None have the defaults of `default_recipe`.

    Returns:
        Accuracy, history and the recipe; the network is loaded with `convlens.load(out)`.

    Raises:
        ConvlensError: data or options that cannot be used; a run folder that is in use, holds
            other files or a training with other options; too little memory; a loss that became
            NaN (the last good checkpoint is kept); an interrupt (everything is kept). With several
            machines also different data or options, or the loss of a machine.

    Example:
        >>> import convlens, numpy
        >>> pixels = numpy.arange(40 * 12 * 12, dtype=numpy.uint8).reshape(40, 12, 12)
        >>> numpy.savez("data.npz", images=pixels, labels=numpy.arange(40) % 2)
        >>> training = convlens.train("data.npz", out="run", network="lenet5", epochs=1)
        >>> training.images, training.validated
        (36, 4)
        >>> convlens.load("run").labels
        ('0', '1')
    """
    _check_options(recipe_options, log, save_every)
    fabric = make_fabric(device, devices, num_nodes, strategy, precision)
    report, notify = or_ignore(progress), or_ignore(on_message)
    launch(fabric, num_nodes, notify)
    if fabric.global_rank > 0:
        report, notify = or_ignore(None), or_ignore(None)

    def load_data() -> tuple[Dataset, Recipe]:
        dataset = (
            data
            if isinstance(data, Dataset)
            else open_data(
                data,
                size=(size, size) if isinstance(size, int) else size,
                validation=validation,
                seed=seed,
                strict=strict,
                stream=stream,
                progress=report,
            )
        )
        recipe = default_recipe(dataset, **recipe_options, seed=seed)
        return dataset, divide_batch(recipe, recipe_options, fabric.world_size)

    folder = Path(out).expanduser()
    with (
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        _preserve_random_state(fabric.device),
        report_lost_processes(fabric),
    ):
        dataset, recipe = run_everywhere(fabric, load_data, per_machine=devices)
        options = recipe.to_json() | {
            "precision": precision,
            "images with the fingerprint": dataset.fingerprint,
        }
        check_same_options(fabric, options, per_machine=devices)
        for sentence in _describe_start(dataset, recipe):
            notify(sentence)
        settings = _RunSettings(log, save_every, devices, report, notify)
        with lock_on_first_process(fabric, folder) as previous:
            return _train(fabric, dataset, recipe, folder, previous, settings)


@dataclass(frozen=True)
class _RunSettings:
    """How a training runs and reports; its numbers do not depend on it.

    Attributes:
        log: format of the log.
        save_every: seconds between checkpoints within an epoch.
        per_machine: number of processes on each machine.
        progress: called with a stage, the amount done and the total.
        on_message: called with sentences.
    """

    log: str
    save_every: float
    per_machine: int
    progress: ProgressCallback
    on_message: MessageCallback


def _train(
    fabric: Any,
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    previous: Run | None,
    settings: _RunSettings,
) -> Training:
    """Train from the beginning, or from the last checkpoint of the previous run."""
    torch.manual_seed(recipe.seed)
    model = build_model(data, recipe)
    network, steps = model.network, total_steps(data, recipe)
    network.to(memory_format=torch.channels_last)
    state = TrainingState() if previous is None else read_state(previous)
    if previous is not None:
        check_same_training(previous, describe_run(data, recipe, model, state, steps))
        momentum = run_everywhere(
            fabric,
            lambda: _load_checkpoint(previous, network) if fabric.global_rank == 0 else {},
            per_machine=settings.per_machine,
        )
        settings.on_message(f"goes on after step {state.step:,} of {steps:,}")

    optimizer = make_optimizer(network, recipe)
    # This also copies the weights of the first device to the others.
    fabric_network, fabric_optimizer = fabric.setup(network, optimizer)
    run_everywhere(
        fabric, lambda: _check_memory(fabric, model, data, recipe), per_machine=settings.per_machine
    )

    writer = RunWriter(
        folder, data, recipe, model, optimizer, state, settings.log, fabric.global_rank == 0
    )

    def report_epoch(row: dict[str, float]) -> None:
        settings.on_message(
            f"epoch {row['epoch']}/{recipe.epochs}: loss {row['loss']:.3f}, "
            f"{percent(row['validation_accuracy'], 2)} of the validation images right"
        )
        writer.write_log()

    if previous is None:
        writer.save_checkpoint()
    else:
        _restore_momentum(network, optimizer, broadcast_tensors(fabric, momentum))
        writer.write_log()  # in case the process was killed between the checkpoint and the log
    callbacks = Callbacks(
        progress=lambda done: settings.progress("training", done, steps),
        epoch=report_epoch,
        save=writer.save_checkpoint,
    )
    fit(
        fabric,
        fabric_network,
        fabric_optimizer,
        model,
        data,
        recipe,
        state,
        callbacks,
        save_every=settings.save_every,
    )
    fabric.barrier()
    return writer.finish()


def _describe_start(data: Dataset, recipe: Recipe) -> Iterator[str]:
    height, width = data.size
    kind = "gray" if data.channels == 1 else "color"
    yield (
        f"{data.name}: {counted(len(data.train), f'{kind} image')} of {height} x {width}, "
        f"{len(data.labels)} classes; {len(data.validation):,} to validate on ({data.held_out})"
    )
    for photo in data.skipped[:3]:
        yield f"left out: {photo.reason}"
    if len(data.skipped) > 3:
        yield f"left out: {counted(len(data.skipped) - 3, 'more file')} that cannot be read"
    yield from data.notes
    if isinstance(data.train, StreamedImages):
        yield "photos are decoded each time they are used, so that they need not fit the memory"
    yield (
        f"{recipe.network}, {counted(recipe.epochs, 'epoch')}, batches of {recipe.batch}, "
        f"learning rate {recipe.learning_rate:g}"
    )


def _check_options(recipe_options: dict[str, Any], log: str, save_every: float) -> None:
    known = [field.name for field in fields(Recipe) if field.name != "seed"]
    for name in recipe_options:
        if name not in known:
            raise ConvlensError(
                f"train takes no {name!r}{suggest(name, known) or '; see convlens.training.Recipe'}"
            )
    check_log_format(log)
    if not save_every > 0:
        raise ConvlensError(f"save every {save_every:g} seconds; give more than 0")


@contextmanager
def _preserve_random_state(device: torch.device) -> Iterator[None]:
    state = random.getstate()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
    random.setstate(state)


def divide_batch(recipe: Recipe, recipe_options: dict[str, Any], processes: int) -> Recipe:
    """The recipe with a batch that is a multiple of the number of processes.

    Args:
        recipe: the settings of the training.
        recipe_options: the settings that the user gave; a given batch is not changed.
        processes: the number of processes that share each batch.

    Raises:
        ConvlensError: the given batch is not a multiple.
    """
    over = recipe.batch % processes
    if over and recipe_options.get("batch") is None and recipe.batch > processes:
        return replace(recipe, batch=recipe.batch - over)
    if over:
        raise ConvlensError(
            f"a batch of {recipe.batch} cannot be shared evenly by {processes} devices; "
            f"give a multiple of {processes}"
        )
    return recipe


def _load_checkpoint(previous: Run, network: nn.Module) -> dict[str, Tensor]:
    """Load the last checkpoint into the network; returns the optimizer's momentum.

    Only the first process calls it, so that the others need no access to the run folder.
    """
    weights = previous.folder / previous.description["checkpoints"]["last"] / WEIGHTS
    load_weights(network, read_weight_file(weights))
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    momentum = read_optimizer_state(previous, shapes)
    # A process that was killed may have left incomplete checkpoints.
    prune_checkpoints(previous.folder, previous.description)
    return momentum


def _check_memory(fabric: Any, model: Model, data: Dataset, recipe: Recipe) -> None:
    height, width = data.size
    image = torch.zeros(data.channels, height, width, device=fabric.device, dtype=model.dtype)
    check_batch_fits(model.network, image, recipe.batch // fabric.world_size)


def _restore_momentum(
    network: nn.Module, optimizer: torch.optim.SGD, momentum: dict[str, Tensor]
) -> None:
    for name, parameter in network.named_parameters():
        if name in momentum:
            buffer = torch.empty_like(parameter).copy_(momentum[name])
            optimizer.state[parameter]["momentum_buffer"] = buffer
