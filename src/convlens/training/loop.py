"""The loop: step after step, each of which depends on nothing but its number and the state.

What is drawn in a step (the order of the images, their augmentation, dropout) is seeded by the
step's number, so that a training that goes on from a checkpoint draws what it would have drawn.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.runtime.interrupts import catch_interrupts
from convlens.training.augment import augment
from convlens.training.batch_size import out_of_memory, too_much
from convlens.training.data import Dataset, Images
from convlens.training.recipe import Recipe

_LOOKS = 20  # steps between looks at the loss where looking makes the device wait
_KEPT_ON_DEVICE = 2**30  # bytes of pixels that are moved to an accelerator as a whole


@dataclass
class State:
    """Where a training is.

    Attributes:
        step: steps done.
        loss: sum of the losses of this epoch's steps, of the first device's images.
        history: a row for each epoch that is done.
    """

    step: int = 0
    loss: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Reports:
    """What the loop tells while it runs.

    Attributes:
        progress: called with the steps done.
        epoch: called with a new row of the history, on the first device after it was saved.
        save: called when the state should be kept.
    """

    progress: Callable[[int], None]
    epoch: Callable[[dict[str, float]], None]
    save: Callable[[], None]


def optimizer_for(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Stochastic gradient descent with Nesterov's momentum; no decay of vectors."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
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
    state: State,
    reports: Reports,
    *,
    save_every: float,
) -> None:
    """Train from the state on to the end of the recipe.

    Args:
        fabric: Lightning's, launched.
        network: as its `setup` returned it.
        optimizer: likewise; its momenta are those of the state.
        model: around the bare network; normalizes.
        data: to train and validate on.
        recipe: what is asked for.
        state: changed step by step.
        reports: what is told meanwhile.
        save_every: seconds after which the state is saved within an epoch too.

    Raises:
        ConvlensError: the loss or the weights became NaN, or memory ran out.
    """
    bare = model.network
    steps = steps_of(data, recipe)
    each = steps // recipe.epochs
    share = slice(fabric.global_rank, None, fabric.world_size)
    per_device = recipe.batch // fabric.world_size
    train = _on(data.train, fabric.device)
    schedule = _schedule(optimizer, recipe, state.step, steps)
    checkpoints = set(recipe.checkpoint_steps(steps))
    looks = 1 if fabric.device.type == "cpu" else _LOOKS
    order = _order(recipe.seed, state.step // each, len(data.train))
    total = torch.tensor(state.loss, dtype=_wide(fabric.device), device=fabric.device)
    began = saved = time.monotonic()

    with catch_interrupts() as interrupted:
        bare.train()
        while state.step < steps:
            epoch, within = divmod(state.step, each)
            if within == 0:
                order = _order(recipe.seed, epoch, len(data.train))
            chosen = order[within * recipe.batch : (within + 1) * recipe.batch][share]
            torch.manual_seed(_seed("step", recipe.seed, state.step, fabric.global_rank))
            total += _step(fabric, network, optimizer, model, train, chosen, recipe)
            schedule.step()
            state.step += 1
            ends = state.step % each == 0
            asked = False  # by an interrupt on any device
            if ends or state.step % looks == 0:
                asked = _look(fabric, total, interrupted(), state.step, recipe)
            reports.progress(state.step)

            if ends:
                row = _row(fabric, model, data, state, float(total) / each, per_device)
                row["learning_rate"] = float(schedule.get_last_lr()[0])
                row["seconds"] = round(time.monotonic() - began, 1)
                state.history.append(row)
                total.zero_()
            stop = interrupted() if fabric.world_size == 1 else asked
            stop = stop and state.step < steps
            late = time.monotonic() - saved > save_every
            if ends or stop or late or state.step in checkpoints:
                state.loss = float(total)
                _check_weights(bare, state.step, recipe)
                reports.save()
                saved = time.monotonic()
            if ends:
                reports.epoch(state.history[-1])
            if stop:
                fabric.barrier()  # none ends before the first has saved
                raise ConvlensError(
                    f"interrupted after {state.step:,} of {steps:,} steps; all is kept, and the "
                    f"same command goes on from there"
                )


def steps_of(data: Dataset, recipe: Recipe) -> int:
    """All steps of a training; what does not fill a batch is left out of an epoch."""
    return len(data.train) // recipe.batch * recipe.epochs


def validate(fabric: Any, model: Model, images: Images, at_once: int) -> tuple[float, float]:
    """Share of images answered rightly, and mean cross-entropy in nats, over all devices.

    So many images at once as a training step has take less memory than the step.
    """
    network = model.network
    if fabric.world_size > 1:
        for buffer in network.buffers():  # those of batch normalization are each device's own
            torch.distributed.broadcast(buffer, 0)
    sums = torch.zeros(2, dtype=_wide(fabric.device), device=fabric.device)
    mine = torch.arange(fabric.global_rank, len(images), fabric.world_size)
    network.eval()
    with torch.no_grad(), fabric.autocast():
        for chosen in mine.split(at_once):
            batch, classes = _batch(images, chosen, model, fabric.device)
            logits = network(batch).float()
            sums[0] += (logits.argmax(1) == classes).sum()
            sums[1] += F.cross_entropy(logits, classes, reduction="sum")
    network.train()
    right, loss = (fabric.all_reduce(sums, reduce_op="sum") / len(images)).tolist()
    return right, loss


def _step(
    fabric: Any,
    network: Any,
    optimizer: Any,
    model: Model,
    train: Images,
    chosen: Tensor,
    recipe: Recipe,
) -> Tensor:
    """One step on the chosen images; their loss."""
    images, classes = _batch(train, chosen, model, fabric.device)
    images = augment(images, shift=recipe.shift, flip=recipe.flip, erase=recipe.erase)
    try:
        logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), classes, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
    except Exception as error:
        if out_of_memory(error):
            raise too_much(error, model.network, images[0], len(images)) from error
        raise
    return loss.detach()


def _batch(
    images: Images, chosen: Tensor, model: Model, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Normalized images `(N, C, H, W)` and their classes, on the device."""
    picked = images[chosen.to(images.pixels.device)]
    levels = picked.pixels.to(device, non_blocking=True).movedim(3, 1).float()
    low, high = model.bounds
    return model.normalize(levels * (high - low) / 255 + low), picked.classes.to(device)


def _on(images: Images, device: torch.device) -> Images:
    if device.type == "cpu" or images.pixels.nbytes > _KEPT_ON_DEVICE:
        return images
    return Images(images.pixels.to(device), images.classes.to(device))


def _schedule(
    optimizer: Any, recipe: Recipe, step: int, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    inner = getattr(optimizer, "optimizer", optimizer)
    for group in inner.param_groups:
        group["initial_lr"] = recipe.learning_rate
    return torch.optim.lr_scheduler.LambdaLR(
        inner, lambda number: recipe.schedule(number, steps), last_epoch=step - 1
    )


def _wide(device: torch.device) -> torch.dtype:
    """The type that sums are kept in; Apple's devices have no doubles."""
    return torch.float32 if device.type == "mps" else torch.float64


def _order(seed: int, epoch: int, count: int) -> Tensor:
    """The order of the images in an epoch, the same on every device."""
    generator = torch.Generator().manual_seed(_seed("order", seed, epoch))
    return torch.randperm(count, generator=generator)


def _seed(*what: object) -> int:
    """Independent seeds for what is drawn in different places."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:8], "little") % 2**63


def _row(
    fabric: Any, model: Model, data: Dataset, state: State, loss: float, at_once: int
) -> dict[str, float]:
    right, held = validate(fabric, model, data.validation, at_once)
    return {
        "epoch": len(state.history) + 1,
        "step": state.step,
        "loss": loss,
        "validation_loss": held,
        "validation_accuracy": right,
    }


def _look(fabric: Any, total: Tensor, interrupted: bool, step: int, recipe: Recipe) -> bool:
    """Whether any device was interrupted; all of them stop after the same step.

    Raises:
        ConvlensError: on every device where the loss of any of them is no number.
    """
    bad = (~total.isfinite()).float()
    seen = fabric.all_reduce(torch.stack([bad, torch.full_like(bad, interrupted)]), reduce_op="sum")
    bad, asked = seen.tolist()
    if bad:
        raise _diverged("the loss", step, recipe)
    return asked > 0


def _check_weights(network: nn.Module, step: int, recipe: Recipe) -> None:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise _diverged(name, step, recipe)


def _diverged(what: str, step: int, recipe: Recipe) -> ConvlensError:
    return ConvlensError(
        f"{what} became NaN or infinite by step {step:,}, at a learning rate of up to "
        f"{recipe.learning_rate:g}; the last good checkpoint is kept; train into another --out "
        f"with --learning-rate {recipe.learning_rate / 10:g}"
    )
