"""The synthetic images of a page: what its channels and classes would like to see most."""

import time
from collections import Counter
from collections.abc import Sequence

from convlens.analyses.maximize.crop_plan import plan_crop
from convlens.analyses.maximize.maximize import maximize
from convlens.analyses.maximize.objectives import parse_objective
from convlens.analyses.maximize.result import MaximizedImages
from convlens.analyses.patches.result import Patches
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.models.output_head import NEGATIVE
from convlens.page import budget
from convlens.page.progress import Desk
from convlens.page.schema import PhotoReport
from convlens.tracing.trace import trace

_TRIED = 3  # steps, from which the cost of the others is told


def channels_maximized(
    model: Model, excited: Patches, seed: int, desk: Desk
) -> tuple[MaximizedImages | None, ...]:
    """For each layer the images of the channels that are shown, or None where it cannot be."""
    layers = [[f"{one.layer}:{shown.channel}" for shown in one.shown] for one in excited.layers]
    found: list[MaximizedImages | None] = []
    for number, targets in enumerate(layers):
        desk.tell("maximized images", number, len(layers))
        made = None
        with desk.section("maximized"):
            if targets:
                canvas = _canvas(model, targets[0], budget.MAXIMA_SIDE)
                seconds = budget.MAXIMA.seconds / len(layers)
                made = _within(model, targets, canvas, seconds, excited, seed)
        found.append(made)
    desk.tell("maximized images", len(layers), len(layers))
    return tuple(found)


def classes_maximized(
    model: Model, read: Sequence[PhotoReport], seed: int, desk: Desk
) -> MaximizedImages | None:
    """Images of the classes that the photos are taken for, the most frequent first."""
    counts = Counter(
        int(one.predictions.classes[0, 0])
        for one in read
        if one.predictions is not None and one.shown
    )
    classes = [index for index, _ in counts.most_common(budget.CLASS_MAXIMA.items)]
    if not classes:
        return None
    with desk.section("class images"):
        targets = [_named(model, index) for index in classes]
        canvas = _canvas(model, targets[0], budget.CLASS_SIDE)
        return _within(model, targets, canvas, budget.CLASS_MAXIMA.seconds, None, seed)
    return None


def _within(
    model: Model,
    targets: Sequence[str],
    canvas: tuple[int, int],
    seconds: float,
    known: Patches | None,
    seed: int,
) -> MaximizedImages:
    """As many steps as there is time for, within limits."""
    stamps: list[float] = []
    maximize(
        model, targets, steps=_TRIED, image_size=canvas, seed=seed,
        progress=lambda done, total: stamps.append(time.perf_counter()),
    )  # fmt: skip
    # The first step also waits for what is made once.
    each = (stamps[_TRIED - 1] - stamps[0]) / (_TRIED - 1) * len(stamps) / _TRIED
    least, most = budget.MAXIMA_STEPS
    steps = min(max(int(seconds / max(each, 1e-9)), least), most)
    found = maximize(model, targets, steps=steps, image_size=canvas, seed=seed, patches=known)
    if found.interrupted:
        raise KeyboardInterrupt
    return found


def _canvas(model: Model, target: str, most: int) -> tuple[int, int]:
    """The usual canvas of a target, made smaller where it is large and the network runs on it."""
    base = trace(model, partly=True)
    wanted = parse_objective(model, base, target)
    usual = plan_crop(model, base, wanted, None).size
    smaller = (min(usual[0], most), min(usual[1], most))
    try:
        return plan_crop(model, base, wanted, smaller).size
    except ConvlensError:
        return usual


def _named(model: Model, index: int) -> str:
    """A class by its name, or by its index where another one has that name too.

    Of one output "not class 0" is what it likes least.
    """
    if index == NEGATIVE:
        return f"-{_named(model, 0)}"
    name = class_name(model.labels, index)
    goal = None
    try:
        goal = parse_objective(model, trace(model), name)
    except ConvlensError:
        return str(index)
    return name if not goal.layer and int(goal.weights.argmax()) == index else str(index)
