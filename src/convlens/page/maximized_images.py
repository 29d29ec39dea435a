"""Maximized images on the page: their number of steps, their size, and their reproduction."""

from contextlib import suppress

from convlens.analyses.maximize.crop_plan import least_default_side, plan_crop
from convlens.analyses.maximize.maximize import maximize
from convlens.analyses.maximize.objectives import parse_objective
from convlens.analyses.maximize.result import MaximizedImages
from convlens.analyses.patches.result import Patches
from convlens.errors import ConvlensError
from convlens.page.inputs import Inputs
from convlens.results.reproduction import Reproduction
from convlens.tracing.tracer import trace

STEPS = (16, 96)  # of gradient ascent, the fewest and the most
_STEP_PASSES = 3.0  # forward passes that one step of gradient ascent takes, about


def maximize_within(
    inputs: Inputs,
    targets: list[str],
    side: int,
    work: float,
    multiply_adds: float,
    known: Patches | None = None,
) -> MaximizedImages:
    """Maximized images in as many steps as the work allows, within `STEPS`.

    Args:
        inputs: inputs of the report.
        targets: channels of one layer, or classes.
        side: largest height and width of the images in pixels, where the network allows it.
        work: multiply-adds of all steps together.
        multiply_adds: number of multiply-adds of one forward pass as far as the targets, on an
            image of the model's size.
        known: patches, whose activations the reached ones are compared with. Default: none.

    Raises:
        KeyboardInterrupt: the maximization was interrupted.
    """
    image_size = _choose_image_size(inputs, targets[0], side)
    height, width = inputs.model.size
    area = image_size[0] * image_size[1] / (height * width)
    each = _STEP_PASSES * len(targets) * multiply_adds * area
    least, most = STEPS
    steps = min(max(int(work / max(each, 1.0)), least), most)
    maximized = maximize(
        inputs.model,
        targets,
        steps=steps,
        image_size=image_size,
        seed=inputs.options.seed,
        patches=known,
    )
    if maximized.interrupted:
        raise KeyboardInterrupt  # meant for the report
    return maximized


def _choose_image_size(inputs: Inputs, target: str, side: int) -> tuple[int, int]:
    """The usual image size of a target, at most `side` pixels where the network runs on it."""
    base = trace(inputs.model, partly=True)
    objective = parse_objective(inputs.model, base, target)

    def find_size(size: tuple[int, int] | None) -> tuple[int, int]:
        return plan_crop(inputs.model, base, objective, size).size

    if objective.layer and min(least_default_side(base, objective), *base.image_size) >= side:
        # The usual image is at least as large. How large would take a trace to find.
        with suppress(ConvlensError):
            return find_size((side, side))
    usual = find_size(None)
    try:
        return find_size((min(usual[0], side), min(usual[1], side)))
    except ConvlensError:
        return usual


def reproduce_maximized(inputs: Inputs, maximized: MaximizedImages) -> Reproduction:
    """The maximized images, without the comparison with photos that the page makes."""
    targets = [maximum.objective for maximum in maximized.maxima]
    height, width = maximized.maxima[0].images.shape[2:]
    words = [
        word
        for maximum in maximized.maxima
        for word in ("--channel" if maximum.layer else "--class", maximum.objective)
    ]
    size = f"{height}" if height == width else f"{height}x{width}"
    first = maximized.maxima[0]
    return inputs.reproducer.reproduction(
        f"maximize-{first.layer or 'classes'}",
        ["maximize", *words, "--steps", str(maximized.steps), "--image-size", size],
        f"convlens.maximize(model, {targets}, steps={maximized.steps}, "
        f"image_size={(height, width)}, seed={inputs.options.seed})",
    )
