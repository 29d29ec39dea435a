"""Climbing: gradient ascent on a batch of canvases, each for itself."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.maximize.crop_plan import Stage
from convlens.analyses.maximize.objectives import Goal
from convlens.analyses.maximize.parameterization import Canvas
from convlens.analyses.maximize.transforms import Transforms
from convlens.capture import backward, observe
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.models.output_head import log_probabilities

_HELPED = 16  # first steps, in which an image that moves nothing is drawn again
_STRONGER = 1.5  # times, at each such drawing
_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True)
class Job:
    """One image to be made.

    Attributes:
        number: of the goal among all.
        goal: what it is to excite.
        stage: where.
        seed: of what is drawn for it.
    """

    number: int
    goal: Goal
    stage: Stage
    seed: int

    def generator(self, what: str) -> torch.Generator:
        """Draws for this image alone, whatever else is made beside it."""
        digest = hashlib.sha256(f"{what} {self.goal.text} {self.seed}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class Ascent:
    """How to climb.

    Attributes:
        steps: at most.
        learning_rate: of Adam, on the canvas's numbers.
        transforms: of each image in each step.
        total_variation: weight of the mean absolute difference of neighbors, in whole spans.
        l2: weight of the mean squared distance from the middle, in half spans.
    """

    steps: int
    learning_rate: float
    transforms: Transforms
    total_variation: float
    l2: float


@dataclass(frozen=True)
class Climbed:
    """What came of one image.

    Attributes:
        image: `(C, H, W)`.
        curve: `(steps,)`, the objective of each step that was made, moved as it was there.
        moved: whether any gradient ever reached it.
    """

    image: Tensor
    curve: Tensor
    moved: bool


def climb(
    model: Model,
    jobs: Sequence[Job],
    canvas: Canvas,
    ascent: Ascent,
    start: Tensor | None,
    tell: Callable[[int], bool],
) -> tuple[list[Climbed], str]:
    """Make the images of some jobs, all on the same stage.

    Args:
        model: guarded by the caller.
        jobs: with the same driven node and canvas.
        canvas: of the images.
        ascent: how to climb.
        start: images `(N, C, H, W)` to begin with, or None for faint noise.
        tell: called after each step with how many are done; True ends it there.

    Returns:
        What came of each, and why it ended early, in words; empty if it did not.

    Raises:
        ConvlensError: NaN or infinity in the first step.
    """
    stage, objective = jobs[0].stage, _Objective.of(jobs)
    starts = [job.generator("start") for job in jobs]
    moves = [job.generator("moves") for job in jobs]
    first = canvas.fresh(starts) if start is None else canvas.numbers(start)
    numbers = first.to(model.device).requires_grad_()
    optimizer = torch.optim.Adam([numbers], lr=ascent.learning_rate)
    moved = torch.zeros(len(jobs), dtype=torch.bool)
    curve: list[Tensor] = []
    ended = ""
    for step in range(ascent.steps):
        images = canvas.images(numbers)
        seen = images
        if not ascent.transforms.still:
            seen = ascent.transforms.apply(images, ascent.transforms.draw(moves, stage.size))
        values = observe(model, stage.trace, seen, [stage.node])[stage.node]
        excitement = objective(stage.trace.channels_first(stage.node, values))
        loss = _penalty(images, canvas, ascent) - excitement.sum()
        with backward():
            (gradient,) = torch.autograd.grad(loss, [numbers])
        if not bool(excitement.isfinite().all() and gradient.isfinite().all()):
            ended = f"step {step + 1} gave NaN or infinity at {jobs[0].goal.driven}"
            if step == 0:
                raise ConvlensError(f"{model.name}: {ended}; there is nothing to climb")
            break
        curve.append(excitement.detach().cpu())
        reached = (gradient.flatten(1) != 0).any(dim=1).cpu()
        moved |= reached
        before = numbers.detach().clone()
        numbers.grad = gradient
        optimizer.step()
        if step < _HELPED and not bool(reached.all()) and start is None:
            # Nothing of these images reaches the goal: rectifiers on the way are all shut.
            for index in (~reached).nonzero().flatten().tolist():
                again = canvas.fresh([starts[index]], contrast=_STRONGER ** (step + 1))
                with torch.no_grad():
                    numbers[index] = again[0].to(numbers)
        if tell(step + 1):
            break
    with torch.no_grad():
        # After NaN, what the step that gave it began with: the last that was good.
        made = canvas.images(before if ended else numbers).float().cpu()
    curves = torch.stack(curve, dim=1) if curve else torch.zeros(len(jobs), 0)
    climbed = [Climbed(*one) for one in zip(made, curves, moved.tolist(), strict=True)]
    return climbed, ended


def _penalty(images: Tensor, canvas: Canvas, ascent: Ascent) -> Tensor:
    """What is subtracted from the objectives, summed over the images."""
    low, high = canvas.bounds
    penalty = images.new_zeros(())
    if ascent.total_variation:
        for axis in (2, 3):
            differences = images.diff(dim=axis).abs().mean(dim=(1, 2, 3)) / (high - low)
            penalty = penalty + ascent.total_variation * differences.sum()
    if ascent.l2:
        distance = (images - (low + high) / 2) / ((high - low) / 2)
        penalty = penalty + ascent.l2 * distance.square().mean(dim=(1, 2, 3)).sum()
    return penalty


@dataclass(frozen=True)
class _Objective:
    """What is to become great, for a batch of goals at one node."""

    weights: Tensor  # (N, C), with the goals' signs
    channels: Tensor | None  # (N,) where each has one channel only
    positions: Tensor | None  # (N, 2) for units, (-1, -1) for the whole map
    counted: tuple[slice, slice]  # of the map
    probability: str  # the link by which classes have one; empty where the value itself counts

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> "_Objective":
        weights = torch.stack([job.goal.sign * job.goal.weights for job in jobs])
        channels = [job.goal.channel for job in jobs]
        at = [job.stage.position or (-1, -1) for job in jobs]
        single = None if None in channels else torch.tensor([one or 0 for one in channels])
        positions = torch.tensor(at) if any(one != (-1, -1) for one in at) else None
        goal, found = jobs[0].goal, jobs[0].stage.trace
        probability = (
            found.output_head if goal.objective == "probability" and not goal.layer else ""
        )
        # Units count themselves, and every other job on the stage the same part of the map.
        counted = next((job.stage.counted for job in jobs if job.stage.position is None), None)
        return cls(weights, single, positions, counted or _WHOLE, probability)

    def __call__(self, values: Tensor) -> Tensor:
        """Objectives `(N,)` of values `(N, C, h, w)` or `(N, classes)`."""
        weights = self.weights.to(values)
        if values.ndim == 2:
            output_head = self.probability
            scores = log_probabilities(values, output_head) if output_head else values
            return (scores * weights).sum(dim=1)
        row = torch.arange(len(values), device=values.device)
        if self.channels is not None:
            channel = self.channels.to(values.device)
            maps = values[row, channel] * weights[row, channel, None, None]
        else:
            maps = torch.einsum("nchw,nc->nhw", values, weights)
        means = maps[:, *self.counted].mean(dim=(1, 2))
        if self.positions is None:
            return means
        y, x = self.positions.to(values.device).unbind(dim=1)
        return torch.where(y < 0, means, maps[row, y, x])
