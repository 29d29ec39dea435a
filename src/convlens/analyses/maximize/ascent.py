"""Gradient ascent on the parameters of a batch of images, each with its own objective and draws."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.maximize.crop_plan import CropPlan
from convlens.analyses.maximize.objectives import Objective
from convlens.analyses.maximize.parameterization import Parameterization
from convlens.analyses.maximize.transforms import Transforms
from convlens.capture.gradients import convert_gradient_errors
from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.models.output_head import log_probabilities

_RESTART_STEPS = 16  # in these first steps an image without a gradient is drawn again
_RESTART_CONTRAST = 1.5  # factor on the contrast at each further draw
_PREVIEW_STEPS = 8  # steps between two calls with the images as they are then
_WHOLE_MAP = (slice(None), slice(None))


@dataclass(frozen=True)
class AscentTask:
    """One image to be optimized.

    Attributes:
        number: number of its objective among all objectives.
        objective: what it is optimized for.
        crop_plan: the image on which it is optimized.
        seed: seed of its random start and transforms.
    """

    number: int
    objective: Objective
    crop_plan: CropPlan
    seed: int

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers for this image alone, whatever images are optimized beside it."""
        digest = hashlib.sha256(f"{purpose} {self.objective.text} {self.seed}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class AscentOptions:
    """Options of the gradient ascent.

    Attributes:
        steps: number of steps.
        learning_rate: learning rate of Adam, on the parameters.
        transforms: the random transforms of each image in each step.
        total_variation: weight of the mean absolute difference of neighboring pixels, as a share
            of the span of the bounds. It is subtracted from the objective.
        l2: weight of the mean squared distance from the middle of the bounds, in units of half
            the span. It is subtracted from the objective.
    """

    steps: int
    learning_rate: float
    transforms: Transforms
    total_variation: float
    l2: float


@dataclass(frozen=True)
class AscentResult:
    """The outcome for one image.

    Attributes:
        image: float32 `(C, H, W)`.
        curve: float32 `(steps,)`, the objective at each step that was made, with that step's
            transforms.
        had_gradient: whether any step had a gradient other than zero.
    """

    image: Tensor
    curve: Tensor
    had_gradient: bool


def ascend(
    model: Model,
    tasks: Sequence[AscentTask],
    parameterization: Parameterization,
    options: AscentOptions,
    start: Tensor | None,
    after_step: Callable[[int], bool],
    preview: Callable[[Tensor], None] | None,
) -> tuple[list[AscentResult], str]:
    """Optimize a batch of images by gradient ascent (Adam).

    Args:
        model: guarded by the caller.
        tasks: tasks with the same optimized node and crop size.
        parameterization: parameterization of the images.
        options: options of the ascent.
        start: images `(N, C, H, W)` to begin with; None for faint noise.
        after_step: called after each step with the number of steps done; True ends the ascent.
        preview: called with the images `(N, C, H, W)` after every eighth step but the last one.

    Returns:
        The outcome for each task, and the reason why the ascent ended early in words, which is
        empty if it did not.

    Raises:
        ConvlensError: the first step gives NaN or infinity.
    """
    crop_plan, objective = tasks[0].crop_plan, _BatchObjective.of(tasks)
    # The texts "start" and "moves" are part of the seed: other texts give other images.
    start_draws = [task.generator("start") for task in tasks]
    transform_draws = [task.generator("moves") for task in tasks]
    first = (
        parameterization.random_parameters(start_draws)
        if start is None
        else parameterization.from_images(start)
    )
    parameters = first.to(model.device).requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=options.learning_rate)
    had_gradient = torch.zeros(len(tasks), dtype=torch.bool)
    curve: list[Tensor] = []
    ended = ""
    for step in range(options.steps):
        images = parameterization.to_images(parameters)
        if preview is not None and step and step % _PREVIEW_STEPS == 0:
            preview(images.detach().float().cpu())
        transformed = images
        if not options.transforms.is_identity:
            matrices = options.transforms.sample(transform_draws, crop_plan.size)
            transformed = options.transforms.apply(images, matrices)
        node = crop_plan.node
        activations = capture_nodes(model, crop_plan.trace, transformed, [node])[node]
        values = objective(crop_plan.trace.channels_first(node, activations))
        loss = _penalty(images, parameterization, options) - values.sum()
        with convert_gradient_errors(crop_plan.trace):
            (gradient,) = torch.autograd.grad(loss, [parameters])
        if not bool(values.isfinite().all() and gradient.isfinite().all()):
            node_name = tasks[0].objective.optimized_node_name
            ended = f"step {step + 1} gave NaN or infinity at {node_name}"
            if step == 0:
                raise ConvlensError(f"{model.name}: {ended}; there is nothing to maximize")
            break
        curve.append(values.detach().cpu())
        has_gradient = (gradient.flatten(1) != 0).any(dim=1).cpu()
        had_gradient |= has_gradient
        before_step = parameters.detach().clone()
        parameters.grad = gradient
        optimizer.step()
        if step < _RESTART_STEPS and not bool(has_gradient.all()) and start is None:
            contrast = _RESTART_CONTRAST ** (step + 1)
            for index in (~has_gradient).nonzero().flatten().tolist():
                _restart(parameters, index, parameterization, start_draws[index], contrast)
        if after_step(step + 1):
            break
    with torch.no_grad():
        # After NaN, the parameters before the step that led to it are the last good ones.
        final = parameterization.to_images(before_step if ended else parameters).float().cpu()
    curves = torch.stack(curve, dim=1) if curve else torch.zeros(len(tasks), 0, dtype=torch.float32)
    results = [
        AscentResult(*outcome) for outcome in zip(final, curves, had_gradient.tolist(), strict=True)
    ]
    return results, ended


def _restart(
    parameters: Tensor,
    index: int,
    parameterization: Parameterization,
    draws: torch.Generator,
    contrast: float,
) -> None:
    """Replace the parameters of an image without a gradient by a stronger random start, in place.

    The rectifiers between the image and the objective are all closed; other pixels may open one.
    """
    random_start = parameterization.random_parameters([draws], contrast=contrast)
    with torch.no_grad():
        parameters[index] = random_start[0].to(parameters)


def _penalty(images: Tensor, parameterization: Parameterization, options: AscentOptions) -> Tensor:
    """The regularizers, summed over the images."""
    low, high = parameterization.bounds
    penalty = images.new_zeros(())
    if options.total_variation:
        for axis in (2, 3):
            differences = images.diff(dim=axis).abs().mean(dim=(1, 2, 3)) / (high - low)
            penalty = penalty + options.total_variation * differences.sum()
    if options.l2:
        distance = (images - (low + high) / 2) / ((high - low) / 2)
        penalty = penalty + options.l2 * distance.square().mean(dim=(1, 2, 3)).sum()
    return penalty


@dataclass(frozen=True)
class _BatchObjective:
    """The objectives of a batch of images, all at one node."""

    weights: Tensor  # (N, C), with the sign of each objective
    channels: Tensor | None  # (N,) if each objective is a single channel
    positions: Tensor | None  # (N, 2) of units, (-1, -1) for the mean over the map
    averaged: tuple[slice, slice]  # rows and columns of the map over which the mean is taken
    output_head: str  # "softmax" or "sigmoid" to maximize log-probabilities, else empty

    @classmethod
    def of(cls, tasks: Sequence[AscentTask]) -> "_BatchObjective":
        weights = torch.stack([task.objective.sign * task.objective.weights for task in tasks])
        channels = [task.objective.channel for task in tasks]
        units = [task.crop_plan.position or (-1, -1) for task in tasks]
        single = (
            None
            if None in channels
            else torch.tensor([channel or 0 for channel in channels], dtype=torch.int64)
        )
        positions = (
            torch.tensor(units, dtype=torch.int64)
            if any(unit != (-1, -1) for unit in units)
            else None
        )
        objective, trace = tasks[0].objective, tasks[0].crop_plan.trace
        is_probability = objective.class_score == "probability" and not objective.layer
        # Tasks without a unit share one crop plan size and so average over the same units.
        averaged = next(
            (task.crop_plan.averaged for task in tasks if task.crop_plan.position is None), None
        )
        return cls(
            weights,
            single,
            positions,
            averaged or _WHOLE_MAP,
            trace.output_head if is_probability else "",
        )

    def __call__(self, activations: Tensor) -> Tensor:
        """Objectives `(N,)` of activations `(N, C, h, w)` or logits `(N, classes)`."""
        weights = self.weights.to(activations)
        if activations.ndim == 2:
            head = self.output_head
            scores = log_probabilities(activations, head) if head else activations
            return (scores * weights).sum(dim=1)
        row = torch.arange(len(activations), device=activations.device)
        if self.channels is not None:
            channel = self.channels.to(activations.device)
            maps = activations[row, channel] * weights[row, channel, None, None]
        else:
            maps = torch.einsum("nchw,nc->nhw", activations, weights)
        means = maps[:, *self.averaged].mean(dim=(1, 2))
        if self.positions is None:
            return means
        y, x = self.positions.to(activations.device).unbind(dim=1)
        return torch.where(y < 0, means, maps[row, y, x])
