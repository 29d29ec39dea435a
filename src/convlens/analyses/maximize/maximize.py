"""Images that maximize a unit, a channel, a class or a direction.

Gradient ascent on the image (Bishop & Bishop, section 10.3: images that maximize an activation or
a class probability). Many objectives are optimized in one batch, and their images do not depend on
each other: each has its own start, its own transforms and its own step sizes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.maximize.ascent import AscentOptions, AscentResult, AscentTask
from convlens.analyses.maximize.crop_plan import CropPlan, plan_crop
from convlens.analyses.maximize.evaluation import evaluate_images
from convlens.analyses.maximize.objectives import ClassScore, Direction, parse_objective
from convlens.analyses.maximize.parameterization import Parameterization, ParameterizationKind
from convlens.analyses.maximize.result import MaximizedImages
from convlens.analyses.maximize.stored_ascent import ascend_once
from convlens.analyses.maximize.transforms import Transforms
from convlens.analyses.patches.result import Patches
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.gradients import enable_gradients
from convlens.data.photos import PhotoLike
from convlens.data.preprocessing import check_image_size
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.guard import preserve_network
from convlens.runtime.interrupts import catch_interrupts
from convlens.tracing.selection import Side
from convlens.tracing.tracer import trace

# Ranges of the transforms: shift as a share of the image's side, rotation in degrees, scale.
# Images of classes need wide ranges, or they fill with small copies of the object. A unit's image
# must stay in its receptive field.
_LAYER_RANGES, _CLASS_RANGES = (1 / 16, 5.0, 0.1), (1 / 10, 15.0, 0.3)


@keep_warnings
@enable_gradients()
@fold_batch_norms()
def maximize(
    model: Model,
    objectives: str | Direction | Sequence[str | Direction],
    *,
    steps: int = 128,
    image_size: int | tuple[int, int] | None = None,
    seeds: int = 1,
    seed: int = 0,
    class_score: ClassScore = "logit",
    side: Side = "post",
    parameterization: ParameterizationKind = "fourier",
    start: PhotoLike | Tensor | None = None,
    transforms: Transforms | None = None,
    learning_rate: float = 0.05,
    total_variation: float = 0.0,
    l2: float = 0.0,
    patches: Patches | str | Path | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
    preview: Callable[[Tensor], None] | None = None,
) -> MaximizedImages:
    """Optimize images so that a unit, channel, class or direction responds as strongly as possible.

    Each step runs the network forward and backward no further than the objective, without
    gradients for its parameters, on an image that is as small as the objective allows. An image
    does not depend on the images that are optimized beside it, up to the rounding of the network's
    own arithmetic.

    Args:
        model: the model, left untouched.
        objectives: `LAYER:K` for a channel, `LAYER:K@Y,X` for a unit, a class or the difference of
            two (`tabby - tiger cat`), each with a minus in front to minimize it; or a
            `convlens.Direction`. See `convlens.analyses.maximize.objectives`.
        steps: number of steps of gradient ascent, at least 1; default 128.
        image_size: height and width in pixels. Default for channels and directions: twice the
            receptive field, at least 64, at most 160 and at most the model's own size; for classes
            the model's own size. A unit is the unit of an image of this size (default: the model's
            own size), and the optimized image is the part of it that the unit sees.
        seeds: number of images for each objective, each from another random start; default 1.
        seed: seed of the first image of each objective; default 0.
        class_score: what is maximized of a class: its logit, or the logarithm of its probability,
            which also lowers the other classes. Default: "logit".
        side: side of the layers: what the non-linearity returns (`post`) or consumes (`pre`), or
            what the layer itself returns (`output`). Default: `post`.
        parameterization: "fourier" (with decorrelated colors for 3 channels) or "pixels"; default
            "fourier".
        start: a photo, or an image `(1, C, H, W)` inside the bounds, to begin with instead of faint
            noise. It is resized to the optimized image. Default: none.
        transforms: random transforms of each image in each step. Default: shifts by a sixteenth of
            the image, rotations by 5 degrees, scales by a tenth; for classes a tenth, 15 degrees
            and three tenths.
        learning_rate: learning rate of Adam, on the parameters; default 0.05.
        total_variation: weight of the mean absolute difference of neighboring pixels, as a share of
            the span of the bounds. It is subtracted from the objective. Default: 0.
        l2: weight of the mean squared distance from the middle of the bounds, in units of half the
            span. It is subtracted from the objective. Default: 0.
        patches: result of `convlens.patches` for a data set, or the folder in which it was saved.
            The activations that are reached are compared with those of the data set. Default: none.
        batch_size: number of images that are optimized at once; default 16.
        progress: called after each step with the number of steps done and their total, each counted
            once for every image; default: not called.
        preview: called after every eighth step with the images as they are then, float32
            `(N, C, H, W)`, of those that are optimized at once; not for images that the disk cache
            has. Default: not called.

    Returns:
        The images and the activations that they reach. If an interrupt or NaN ends the ascent
        early, the result holds the images up to then, and its `stopped` says why.

    Raises:
        PhotoError: the photo to begin with cannot be read.
        ConvlensError: an objective is unknown (the message names the nearest names), the image
            size is too small for the layer (the message names the smallest), the first step gives
            NaN, or a number is out of range.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.3; Olah, Mordvintsev
        and Schubert, "Feature Visualization", Distill, 2017.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> model = convlens.wrap(network, size=16)
        >>> result = convlens.maximize(model, ["0:1", "0:2@3,3"], steps=4)
        >>> [maximum.objective for maximum in result.maxima]
        ['0:1', '0:2@3,3']
        >>> result.maxima[0].images.shape
        torch.Size([1, 3, 16, 16])
    """
    texts = [objectives] if isinstance(objectives, (str, Direction)) else list(objectives)
    if not texts or steps < 1 or seeds < 1 or batch_size < 1:
        raise ConvlensError(
            f"{len(texts)} objectives, {seeds} seeds, {steps} steps, batches of {batch_size}; "
            f"give at least 1 of each"
        )
    start_image = None if start is None else _start_image(model, start)
    known_patches = Patches.load(patches) if isinstance(patches, (str, Path)) else patches
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None:
        check_image_size(*size)
    tasks = _plan_tasks(model, texts, range(seed, seed + seeds), size, class_score, side)
    results: dict[int, AscentResult] = {}
    report = or_ignore(progress)
    stopped, total = "", len(tasks) * steps
    with preserve_network(model.network), catch_interrupts() as interrupted:
        for batch in _batches(tasks, batch_size):
            if interrupted():
                break

            def after_step(step: int, count: int = len(batch)) -> bool:
                report(len(results) * steps + count * step, total)
                return interrupted()

            batch_tasks = [tasks[index] for index in batch]
            options = AscentOptions(
                steps=steps,
                learning_rate=learning_rate,
                transforms=transforms or _default_transforms(batch_tasks[0]),
                total_variation=total_variation,
                l2=l2,
            )
            outcomes, reason = _ascend_batch(
                model, batch_tasks, parameterization, options, start_image, after_step, preview
            )
            results.update(zip(batch, outcomes, strict=True))
            stopped = stopped or reason
        was_interrupted = interrupted()
        if was_interrupted:
            steps_done = sum(len(result.curve) for result in results.values())
            stopped = f"interrupted after {steps_done:,} of {total:,} steps"
        begun = sorted(results)
        maxima = evaluate_images(
            model, [tasks[index] for index in begun], [results[index] for index in begun],
            known_patches,
        )  # fmt: skip
    return MaximizedImages(
        model=model.name,
        maxima=maxima,
        steps=steps,
        seed=seed,
        parameterization=parameterization,
        class_score=class_score,
        bounds=model.bounds,
        stopped=stopped,
        interrupted=was_interrupted,
    )


def _plan_tasks(
    model: Model,
    objectives: Sequence[str | Direction],
    seeds: range,
    image_size: tuple[int, int] | None,
    class_score: ClassScore,
    side: Side,
) -> list[AscentTask]:
    """A task for each objective and seed; the other arguments are those of `maximize`."""
    base = trace(model, partly=True)
    tasks: list[AscentTask] = []
    crop_plans: dict[tuple[object, ...], CropPlan] = {}  # the channels of a layer share one
    for number, text in enumerate(objectives):
        objective = parse_objective(model, base, text, class_score, side=side)
        key = (
            objective.layer, objective.node_name, objective.optimized_node_name, objective.position,
        )  # fmt: skip
        if key not in crop_plans:
            crop_plans[key] = plan_crop(model, base, objective, image_size)
        tasks += [AscentTask(number, objective, crop_plans[key], seed) for seed in seeds]
    return tasks


def _batches(tasks: Sequence[AscentTask], batch_size: int) -> Iterator[list[int]]:
    """Indices of tasks that are optimized at once: those of one node with crops of one size."""
    groups: dict[tuple[str, tuple[int, int]], list[int]] = defaultdict(list)
    for index, task in enumerate(tasks):
        groups[task.objective.optimized_node_name, task.crop_plan.size].append(index)
    for group in groups.values():
        for first in range(0, len(group), batch_size):
            yield group[first : first + batch_size]


def _ascend_batch(
    model: Model,
    tasks: Sequence[AscentTask],
    kind: ParameterizationKind,
    options: AscentOptions,
    start_image: Tensor | None,
    after_step: Callable[[int], bool],
    preview: Callable[[Tensor], None] | None,
) -> tuple[list[AscentResult], str]:
    """The images of tasks that are optimized at once, and why they ended early; see `ascend`."""
    parameterization = Parameterization(
        kind, model.channels, *tasks[0].crop_plan.size, bounds=model.bounds
    )
    start = None if start_image is None else _starts(start_image, tasks)
    return ascend_once(model, tasks, parameterization, options, start, after_step, preview)


def _default_transforms(task: AscentTask) -> Transforms:
    shift, rotation, scale = _LAYER_RANGES if task.objective.layer else _CLASS_RANGES
    return Transforms(shift * min(task.crop_plan.size), rotation, scale)


def _start_image(model: Model, start: PhotoLike | Tensor) -> Tensor:
    image = model.check(model.to_images(start))
    if len(image) != 1:
        raise ConvlensError(f"{len(image)} images to begin with; give one, (1, C, H, W)")
    return image.detach().float()


def _starts(image: Tensor, tasks: Sequence[AscentTask]) -> Tensor:
    """For each task the image to begin with: for a unit its window, for others all, resized."""
    return torch.cat([_start_on_crop(image, task.crop_plan) for task in tasks])


def _start_on_crop(image: Tensor, crop_plan: CropPlan) -> Tensor:
    if crop_plan.window is not None:
        top, left, height, width = crop_plan.window
        image = _resized(image, crop_plan.image_size)[..., top : top + height, left : left + width]
    return _resized(image, crop_plan.size)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
