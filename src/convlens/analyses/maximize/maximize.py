"""Images that maximize a unit, a channel, a class or a direction.

Gradient ascent on the image (Bishop & Bishop, section 10.3: images that maximize an activation or
a class probability). Many targets are climbed in one batch, and none knows of the others: each
image has its own start, its own moves and its own step sizes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.maximize.ascent import Ascent, Climbed, Job, climb
from convlens.analyses.maximize.crop_plan import Stage, plan_crop
from convlens.analyses.maximize.objectives import Direction, Objective, parse_objective
from convlens.analyses.maximize.parameterization import Canvas, Kind
from convlens.analyses.maximize.result import MaximizedImages, assess
from convlens.analyses.maximize.transforms import Transforms
from convlens.analyses.patches.result import Patches
from convlens.capture import recording
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.runtime.guard import untouched
from convlens.runtime.interrupts import catch_interrupts
from convlens.tracing.trace import trace

# Of the transforms: share of the canvas's side, degrees, share. Classes need more of it, or their
# image fills with small copies; a unit's would be carried out of its field.
_UNITS, _CLASSES = (1 / 16, 5.0, 0.1), (1 / 10, 15.0, 0.3)


@recording()
def maximize(
    model: Model,
    targets: str | Direction | Sequence[str | Direction],
    *,
    steps: int = 128,
    image_size: int | tuple[int, int] | None = None,
    seeds: int = 1,
    seed: int = 0,
    objective: Objective = "logit",
    parameterization: Kind = "fourier",
    start: Tensor | None = None,
    transforms: Transforms | None = None,
    learning_rate: float = 0.05,
    total_variation: float = 0.0,
    l2: float = 0.0,
    known: Patches | None = None,
    batch: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MaximizedImages:
    """Make images that excite something as much as they can.

    Each step runs the network forward and back no further than the target, with no gradient for
    its parameters, on a canvas that is as small as the target allows. Every image is the same
    whatever else is made with it, to the rounding of the network's own arithmetic.

    Args:
        model: the model, left untouched.
        targets: `LAYER:K`, `LAYER:K@Y,X`, a class or the difference of two (`tabby - tiger cat`);
            with a minus in front the least; or directions. See
            `convlens.analyses.maximize.objectives`.
        steps: of ascent, at least 1.
        image_size: height and width in pixels. Default for channels and directions: twice the
            receptive field, at least 64 and at most 160 and the model's own size; for classes the
            model's own. Units are those of an image of this size (default: the model's own), and
            are given no more than the part of it that they see.
        seeds: images for each target, from different starts.
        seed: of the first of them.
        objective: for classes, the logit or the logarithm of the probability (which lowers the
            other classes too).
        parameterization: fourier (with decorrelated colors, for 3 channels) or pixels.
        start: an image `(1, C, H, W)` inside the bounds to begin with instead of faint noise; it is
            resized to the canvas.
        transforms: random moves of each image in each step; default: a sixteenth of the canvas
            either way, 5 degrees, a tenth in scale; for classes a tenth, 15 degrees, three tenths.
        learning_rate: of Adam, on the canvas's numbers.
        total_variation: weight of the mean absolute difference of neighboring pixels, which is
            subtracted, in units of the objective for a difference of the whole span.
        l2: weight of the mean squared distance from the middle of the bounds, in half spans.
        known: `convlens.patches` of a data set, to set the activations reached beside.
        batch: images at a time.
        progress: called with how many steps of images are done and how many there are.

    Returns:
        The images and what they reach. Where an interrupt or NaN ended it early, what there was
        by then; `stopped` says so.

    Raises:
        ConvlensError: an unknown target (with the nearest names), a canvas that is too small for
            the layer (with the least size), NaN from the first step on, no targets or steps.
    """
    wanted = [targets] if isinstance(targets, (str, Direction)) else list(targets)
    if not wanted or steps < 1 or seeds < 1 or batch < 1:
        raise ConvlensError(
            f"{len(wanted)} targets, {seeds} seeds, {steps} steps, {batch} at a time; "
            f"give at least 1 of each"
        )
    if start is not None and len(model.check(start)) != 1:
        raise ConvlensError(f"{len(start)} images to begin with; give one, (1, C, H, W)")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    base = trace(model, partly=True)
    jobs = []
    for number, one in enumerate(wanted):
        goal = parse_objective(model, base, one, objective)
        stage = plan_crop(model, base, goal, size)
        jobs += [Job(number, goal, stage, seed + draw) for draw in range(seeds)]
    groups: dict[tuple[str, tuple[int, int]], list[int]] = defaultdict(list)
    for index, job in enumerate(jobs):
        groups[job.goal.driven, job.stage.size].append(index)
    climbed: dict[int, Climbed] = {}
    stopped, total = "", len(jobs) * steps
    with untouched(model.network), catch_interrupts() as interrupted:
        for part in (
            group[at : at + batch]
            for group in groups.values()
            for at in range(0, len(group), batch)
        ):
            if interrupted():
                break
            some = [jobs[index] for index in part]
            paper = Canvas(
                parameterization, model.channels, *some[0].stage.size, bounds=model.bounds
            )
            ascent = Ascent(
                steps=steps,
                learning_rate=learning_rate,
                transforms=transforms or _default(some[0]),
                total_variation=total_variation,
                l2=l2,
            )

            def tell(step: int, count: int = len(part)) -> bool:
                progress(len(climbed) * steps + count * step, total)
                return interrupted()

            first = _starts(start, [job.stage for job in some]) if start is not None else None
            made, why = climb(model, some, paper, ascent, first, tell)
            climbed.update(zip(part, made, strict=True))
            stopped = stopped or why
        ended = interrupted()
        if ended:
            made_steps = sum(len(one.curve) for one in climbed.values())
            stopped = f"interrupted after {made_steps:,} of {total:,} steps"
        begun = sorted(climbed)
        maxima = assess(model, [jobs[i] for i in begun], [climbed[i] for i in begun], known)
    return MaximizedImages(
        model=model.name,
        maxima=maxima,
        steps=steps,
        seed=seed,
        parameterization=parameterization,
        objective=objective,
        bounds=model.bounds,
        stopped=stopped,
        interrupted=ended,
    )


def _default(job: Job) -> Transforms:
    share, turn, scale = _UNITS if job.goal.layer else _CLASSES
    return Transforms(share * min(job.stage.size), turn, scale)


def _starts(start: Tensor, stages: Sequence[Stage]) -> Tensor:
    """The image to begin with on each stage: its window for units, else resized."""
    begun = []
    for stage in stages:
        image = start.detach().float()
        if stage.window is not None:
            top, left, height, width = stage.window
            image = _resized(image, stage.whole)[..., top : top + height, left : left + width]
        begun.append(_resized(image, stage.size))
    return torch.cat(begun)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
