"""The training loop: steps that depend only on their number and the state.

The random numbers of a step (order of the images, augmentation, dropout) are seeded with the
number of the step, so that a training that continues from a checkpoint uses the same ones as a
training that was never stopped.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.runtime.interrupts import catch_interrupts
from convlens.training.augment import augment
from convlens.training.batch_size import is_out_of_memory, out_of_memory_error
from convlens.training.data import Dataset, LabeledImages, TrainingImages
from convlens.training.recipe import Recipe

_LOSS_CHECK_INTERVAL = 20  # steps; reading the loss of an accelerator makes it wait
_MAX_BYTES_ON_DEVICE = 2**30  # larger training sets stay in main memory


@dataclass
class TrainingState:
    """The state of a training, apart from weights and momentum.

    Attributes:
        step: number of steps done.
        loss: sum of the losses of the current epoch's steps, for the images of the first device.
        history: a row for each completed epoch.
        class_correct: after the last epoch, the number of validation images of each class that are
            predicted correctly; empty before the first.
        best_class_correct: the same after the epoch with the highest accuracy, the latest of equal
            ones.
    """

    step: int = 0
    loss: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    class_correct: list[int] = field(default_factory=list)
    best_class_correct: list[int] = field(default_factory=list)

    def add_epoch(self, row: dict[str, float], class_correct: list[int]) -> None:
        """Add an epoch.

        Args:
            row: its row of the history.
            class_correct: number of validation images of each class that are predicted correctly.
        """
        self.history.append(row)
        self.class_correct = class_correct
        if all(row["validation_accuracy"] >= old["validation_accuracy"] for old in self.history):
            self.best_class_correct = class_correct


@dataclass(frozen=True)
class Callbacks:
    """Functions that the loop calls while it runs.

    Attributes:
        progress: called with the number of steps done.
        epoch: called with the history's new row after an epoch was saved.
        save: called when a checkpoint is due.
    """

    progress: Callable[[int], None]
    epoch: Callable[[dict[str, float]], None]
    save: Callable[[], None]


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Stochastic gradient descent with Nesterov momentum, without weight decay for vectors."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    undecayed = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    )


def fit(
    fabric: Any,
    network: Any,
    optimizer: Any,
    model: Model,
    data: Dataset,
    recipe: Recipe,
    state: TrainingState,
    callbacks: Callbacks,
    *,
    save_every: float,
) -> None:
    """Train from a state to the end of the recipe.

    Args:
        fabric: Lightning Fabric, launched.
        network: the network that `fabric.setup` returned.
        optimizer: the optimizer that `fabric.setup` returned, with the momentum of the state.
        model: the model around the same network; it normalizes the images.
        data: images to train and validate on.
        recipe: the settings of the training.
        state: the state to start from; updated after each step.
        callbacks: functions that are called while the training runs.
        save_every: seconds between checkpoints within an epoch.

    Raises:
        ConvlensError: the loss or the weights became NaN, memory ran out, or the training was
            interrupted.
    """
    bare = model.network
    steps = total_steps(data, recipe)
    steps_per_epoch = steps // recipe.epochs
    per_device = recipe.batch // fabric.world_size
    train = _move_to_device(data.train, fabric.device)
    schedule = _schedule(optimizer, recipe, state.step, steps)
    checkpoints = set(recipe.checkpoint_steps(steps))
    check_interval = 1 if fabric.device.type == "cpu" else _LOSS_CHECK_INTERVAL
    device_slice = slice(fabric.global_rank, None, fabric.world_size)
    indices = _step_indices(recipe, state.step, steps, len(train), device_slice)
    total = torch.tensor(state.loss, dtype=_sum_dtype(fabric.device), device=fabric.device)
    began = saved = time.monotonic()

    with catch_interrupts() as interrupted, closing(train.batches(indices)) as batches:
        bare.train()
        for batch in batches:
            torch.manual_seed(_derive_seed("step", recipe.seed, state.step, fabric.global_rank))
            total += training_step(fabric, network, optimizer, model, batch, recipe)
            schedule.step()
            state.step += 1
            epoch_ends = state.step % steps_per_epoch == 0
            stop_requested = False  # whether any device was interrupted
            if epoch_ends or state.step % check_interval == 0:
                stop_requested = _check_loss(fabric, total, interrupted(), state.step, recipe)
            callbacks.progress(state.step)

            if epoch_ends:
                row, class_correct = _epoch_row(
                    fabric, model, data, state, float(total) / steps_per_epoch, per_device
                )
                row["learning_rate"] = float(schedule.get_last_lr()[0])
                row["seconds"] = round(time.monotonic() - began, 1)
                state.add_epoch(row, class_correct)
                total.zero_()
            stop = interrupted() if fabric.world_size == 1 else stop_requested
            stop = stop and state.step < steps
            save_due = time.monotonic() - saved > save_every
            if epoch_ends or stop or save_due or state.step in checkpoints:
                state.loss = float(total)
                _check_weights(bare, state.step, recipe)
                callbacks.save()
                saved = time.monotonic()
            if epoch_ends:
                callbacks.epoch(state.history[-1])
            if stop:
                fabric.barrier()  # no process ends before the first has saved
                raise ConvlensError(
                    f"interrupted after {state.step:,} of {steps:,} steps; all is kept, and the "
                    f"same command goes on from there"
                )


def total_steps(data: Dataset, recipe: Recipe) -> int:
    """Number of steps of a complete training; an epoch leaves out what does not fill a batch."""
    return len(data.train) // recipe.batch * recipe.epochs


def validate(
    fabric: Any, model: Model, images: TrainingImages, num_classes: int, at_once: int
) -> tuple[list[int], float]:
    """Correct predictions and mean cross-entropy in nats, over all devices.

    Args:
        fabric: Lightning Fabric, launched.
        model: the model that is trained.
        images: labeled images that are not trained on.
        num_classes: number of classes.
        at_once: images in a batch; the batch of a training step fits, since it needs less memory.

    Returns:
        For each class the number of its images that are predicted correctly, and the loss.
    """
    network = model.network
    if fabric.world_size > 1:
        for buffer in network.buffers():  # every device has its own batch normalization statistics
            torch.distributed.broadcast(buffer, 0)
    sums = torch.zeros(num_classes + 1, dtype=_sum_dtype(fabric.device), device=fabric.device)
    own_indices = torch.arange(fabric.global_rank, len(images), fabric.world_size)
    network.eval()
    with (
        torch.no_grad(),
        fabric.autocast(),
        closing(images.batches(own_indices.split(at_once))) as batches,
    ):
        for batch in batches:
            inputs, classes = _to_inputs(batch, model, fabric.device)
            logits = network(inputs).float()
            correct = classes[logits.argmax(1) == classes]
            sums[:-1] += torch.bincount(correct, minlength=num_classes)
            sums[-1] += F.cross_entropy(logits, classes, reduction="sum")
    network.train()
    *correct_by_class, loss = fabric.all_reduce(sums, reduce_op="sum").tolist()
    return [int(count) for count in correct_by_class], loss / len(images)


def training_step(
    fabric: Any,
    network: Any,
    optimizer: Any,
    model: Model,
    batch: LabeledImages,
    recipe: Recipe,
) -> Tensor:
    """Take one step on a batch.

    Returns:
        The mean loss of its images, detached.
    """
    images, classes = _to_inputs(batch, model, fabric.device)
    images = augment(images, shift=recipe.shift, flip=recipe.flip, erase=recipe.erase)
    try:
        logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), classes, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory_error(error, model.network, images[0], len(images)) from error
        raise
    return loss.detach()


def _to_inputs(batch: LabeledImages, model: Model, device: torch.device) -> tuple[Tensor, Tensor]:
    """Normalized images `(N, C, H, W)` and their classes `(N,)`, on the device."""
    levels = batch.pixels.to(device, non_blocking=True).movedim(3, 1).float()
    low, high = model.bounds
    return model.normalize(levels * (high - low) / 255 + low), batch.classes.to(device)


def _move_to_device(images: TrainingImages, device: torch.device) -> TrainingImages:
    if (
        device.type == "cpu"
        or not isinstance(images, LabeledImages)
        or images.pixels.nbytes > _MAX_BYTES_ON_DEVICE
    ):
        return images
    return LabeledImages(images.pixels.to(device), images.classes.to(device))


def _schedule(
    optimizer: Any, recipe: Recipe, step: int, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    inner = getattr(optimizer, "optimizer", optimizer)
    for group in inner.param_groups:
        group["initial_lr"] = recipe.learning_rate
    return torch.optim.lr_scheduler.LambdaLR(
        inner, lambda number: recipe.schedule(number, steps), last_epoch=step - 1
    )


def _sum_dtype(device: torch.device) -> torch.dtype:
    """The type of accumulated sums; Apple's devices have no doubles."""
    return torch.float32 if device.type == "mps" else torch.float64


def _step_indices(
    recipe: Recipe, first: int, steps: int, count: int, device_slice: slice
) -> Iterator[Tensor]:
    """The indices of this device's images for each step from `first` on."""
    steps_per_epoch = steps // recipe.epochs
    order = torch.empty(0, dtype=torch.int64)
    for step in range(first, steps):
        epoch, within = divmod(step, steps_per_epoch)
        if within == 0 or step == first:
            order = _epoch_order(recipe.seed, epoch, count)
        yield order[within * recipe.batch : (within + 1) * recipe.batch][device_slice]


def _epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order of the images in an epoch, which is the same on every device."""
    generator = torch.Generator().manual_seed(_derive_seed("order", seed, epoch))
    return torch.randperm(count, generator=generator)


def _derive_seed(*purpose: object) -> int:
    """An independent seed for each use of random numbers."""
    digest = hashlib.sha256(repr(purpose).encode()).digest()
    return int.from_bytes(digest[:8], "little") % 2**63


def _epoch_row(
    fabric: Any, model: Model, data: Dataset, state: TrainingState, loss: float, at_once: int
) -> tuple[dict[str, float], list[int]]:
    """The row of the history, and the correct predictions of each class."""
    class_correct, validation_loss = validate(
        fabric, model, data.validation, len(data.labels), at_once
    )
    row = {
        "epoch": len(state.history) + 1,
        "step": state.step,
        "loss": loss,
        "validation_loss": validation_loss,
        "validation_accuracy": sum(class_correct) / len(data.validation),
    }
    return row, class_correct


def _check_loss(fabric: Any, total: Tensor, interrupted: bool, step: int, recipe: Recipe) -> bool:
    """Whether any device was interrupted, so that all of them stop after the same step.

    Raises:
        ConvlensError: the loss of any device is NaN or infinite.
    """
    bad = (~total.isfinite()).float()
    flags = fabric.all_reduce(
        torch.stack([bad, torch.full_like(bad, interrupted)]), reduce_op="sum"
    )
    bad, stop_requested = flags.tolist()
    if bad:
        raise _divergence_error("the loss", step, recipe)
    return stop_requested > 0


def _check_weights(network: nn.Module, step: int, recipe: Recipe) -> None:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise _divergence_error(name, step, recipe)


def _divergence_error(quantity: str, step: int, recipe: Recipe) -> ConvlensError:
    return ConvlensError(
        f"{quantity} became NaN or infinite by step {step:,}, at a learning rate of up to "
        f"{recipe.learning_rate:g}; the last good checkpoint is kept; train into another --out "
        f"with --learning-rate {recipe.learning_rate / 10:g}"
    )
