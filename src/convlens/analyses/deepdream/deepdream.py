"""DeepDream: a photo changed so that a layer says more of what it says already.

The error signal at the layer is set to its pre-activations themselves and taken back to the pixels
(Bishop & Bishop, section 10.3.5), which is the gradient of ½‖a‖². Steps along it are made at
several sizes of the photo, and what they added is carried from each size to the next (Mordvintsev,
Olah & Tyka, Inceptionism, 2015).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.deepdream.objective import direction, features_of, find_raised
from convlens.analyses.deepdream.octaves import image_of, plans_of, resized, sizes_of
from convlens.analyses.deepdream.tiles import Objective, Plan
from convlens.capture import recording
from convlens.data.images import to_pixels
from convlens.data.photo_decoder import PhotoLike
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.results import Result
from convlens.runtime.guard import untouched
from convlens.runtime.interrupts import catch_interrupts
from convlens.tracing.selection import Side

TILE = 640  # pixels of the side of a tile


@dataclass(frozen=True, eq=False)
class Dream(Result):
    """A dream, and the proof that it is one: the objective rises.

    Attributes:
        photo: float32 `(C, H, W)`, what it began with.
        image: float32 `(C, H, W)`, the dream, inside the bounds.
        layer: the name that was asked for, or the one chosen.
        node_name: name of the node whose objective was raised.
        side: `pre`, where a non-linearity consumes it, `post`, where one gave it, or `linear`.
        reason: why this layer.
        channel: the only channel that counted, or None for all.
        guide: float32 `(C, h, w)`, the guide image as the network was given it, or None.
        sizes: height and width of each octave, the smallest first.
        objective: float64 `(O, S + 1)`, summed over all units of the map before each step, and
            after the last one: ½‖a‖², or with a guide the dot products with its features. Between
            the first and the last the photo is shifted. NaN for what was not done. Maps differ
            between octaves, so compare inside a row.
        of_photo: the same of the photo at its full size; NaN where the dream was stopped.
        scale: ratio of the sizes of two octaves.
        step: mean change of a pixel in one step, of 255 levels.
        jitter: pixels by which the photo is shifted at random before each step, at most.
        seed: of these shifts.
        tiles: in how many parts the largest octave was computed.
        stopped: where and why it ended before its time, or an empty text.
        interrupted: whether it was an interrupt that ended it.
        bounds: of the pixels.
    """

    photo: Tensor
    image: Tensor
    layer: str
    node_name: str
    side: str
    reason: str
    channel: int | None
    guide: Tensor | None
    sizes: tuple[tuple[int, int], ...]
    objective: Tensor
    of_photo: float
    scale: float
    step: float
    jitter: int
    seed: int
    tiles: int
    stopped: str
    interrupted: bool
    bounds: tuple[float, float]

    @property
    def rise(self) -> Tensor:
        """float64 `(O,)`, the objective after the last step over that before the first."""
        return self.objective[:, -1] / self.objective[:, 0]

    def summary(self) -> str:
        """What was done and what came of it, in words."""
        what = "the dot product with the guide's features" if self.guide is not None else "½‖a‖²"
        where = (
            self.node_name
            if self.channel is None
            else f"channel {self.channel} of {self.node_name}"
        )
        side = {"pre": "pre-activations", "post": "activations", "output": "values"}[self.side]
        octaves, steps = len(self.sizes), self.objective.shape[1] - 1
        told = f"{what} of the {side} at {where}"
        done = f"{octaves} octave{'s' * (octaves > 1)} of {steps} step{'s' * (steps > 1)}"
        if self.stopped:
            return f"{told}, {done}: {self.stopped}"
        if self.of_photo > 0:
            times = float(self.objective[-1, -1]) / self.of_photo
            return f"{told} is {times:.3g} times that of the photo after {done}"
        return f"{told} went from {self.of_photo:.3g} to {self.objective[-1, -1]:.3g} after {done}"

    def pictures(self) -> dict[str, Tensor]:
        """The photo and the dream."""
        both = {"photo": self.photo, "dream": self.image}
        return {
            name: to_pixels(one, self.bounds).expand(-1, -1, 3).contiguous()
            for name, one in both.items()
        }


@recording()
def dream(
    model: Model,
    photo: PhotoLike | Tensor,
    *,
    layer: str | None = None,
    side: Side = "pre",
    channel: int | None = None,
    guide: PhotoLike | Tensor | None = None,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 10,
    step: float = 1.5,
    jitter: int = 32,
    size: int | None = None,
    tile: int | None = TILE,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dream:
    """DeepDream.

    The photo keeps its own size, not that of the model's images. A large one is run in tiles;
    their gradient is that of the whole, also in its mean size, by which each step is divided.
    An interrupt ends the work with what there is; the result says where.

    Args:
        model: left untouched.
        photo: a path, a PIL image, or an image `(C, H, W)` or `(1, C, H, W)` inside the bounds.
        layer: name of a layer or a node. Default: the last convolution whose units see no more than
            an image of the model's own size.
        side: of the layer: what its non-linearity consumes (`pre`, the chapter's definition) or
            returns (`post`), or what the layer itself returns (`output`).
        channel: raise this channel alone.
        guide: a photo; each position is drawn to the guide's feature that it has the largest dot
            product with, instead of to itself. Features are taken after the non-linearity: what the
            guide shows, and not what it lacks. It is prepared as the model prepares photos.
        octaves: at how many sizes.
        scale: ratio of two sizes.
        steps: at each size.
        step: mean change of a pixel in a step, of 255 levels.
        jitter: pixels by which the photo is shifted at random before each step, at most, around
            its borders.
        size: of the longer side in pixels; default: the photo's own.
        tile: height and width in pixels that are run at once, at most (or twice the receptive field
            if that is more); None: everything at once.
        seed: of the shifts.
        progress: called with the tiles done in all steps, and their number; a step of a photo that
            is run at once has one.

    Raises:
        PhotoError: a photo that cannot be read.
        ConvlensError: an unknown layer or channel, an octave too small for the layer, options out
            of range, or nothing to go along: no gradient, or NaN, in the first step.
    """
    check_model(model)
    _check(octaves, scale, steps, step, jitter, size, tile)
    if channel is not None and guide is not None:
        raise ConvlensError("a guide and a channel do not go together; give one of them")
    start = image_of(model, photo, size)
    target = find_raised(model, layer, channel, side)
    sizes = sizes_of((start.shape[2], start.shape[3]), octaves, scale)
    with untouched(model.network):
        plans = plans_of(model, target, sizes, scale, tile)
        shown = None if guide is None else _guide(model, guide)
        features = None if shown is None else features_of(model, target, shown)
        loop = _Loop(
            wanted=direction(channel, features),
            plans=plans,
            objective=torch.full((octaves, steps + 1), math.nan, dtype=torch.float64),
            step=step * model.span / 255,
            jitter=jitter,
            bounds=model.bounds,
            generator=torch.Generator().manual_seed(seed),
            progress=progress,
        )
        with catch_interrupts() as asked:
            image = loop.run(start, asked)
            of_photo = None if loop.stopped else plans[-1].slope(start, loop.wanted, asked=asked)
            if of_photo is None and not loop.stopped:
                loop.stopped, loop.interrupted = "interrupted after the last step", True
    return Dream(
        photo=start[0].float().cpu(),
        image=image[0].float().cpu(),
        layer=target.layer,
        node_name=target.node_name,
        side=target.side,
        reason=target.reason,
        channel=channel,
        guide=None if shown is None else shown[0].float().cpu(),
        sizes=tuple(sizes),
        objective=loop.objective,
        of_photo=math.nan if of_photo is None else of_photo,
        scale=scale,
        step=step,
        jitter=jitter,
        seed=seed,
        tiles=len(plans[-1].tiles),
        stopped=loop.stopped,
        interrupted=loop.interrupted,
        bounds=model.bounds,
    )


@dataclass
class _Loop:
    """The steps, octave by octave."""

    wanted: Objective
    plans: list[Plan]
    objective: Tensor
    step: float
    jitter: int
    bounds: tuple[float, float]
    generator: torch.Generator
    progress: Callable[[int, int], None]
    stopped: str = ""
    interrupted: bool = False
    tiles: int = 0  # done

    def run(self, photo: Tensor, asked: Callable[[], bool]) -> Tensor:
        """The dream of a photo `(1, C, H, W)`; as far as it came where it was stopped."""
        base = image = photo
        for octave, found in enumerate(self.plans):
            detail = None if octave == 0 else resized(image - base, found.size)
            base = resized(photo, found.size).clamp_(*self.bounds)
            image = base.clone() if detail is None else detail.add_(base).clamp_(*self.bounds)
            del detail
            image = self._octave(octave, found, image, asked)
            if self.stopped:
                break
        if image.shape == photo.shape:
            return image
        detail = resized(image - base, (photo.shape[2], photo.shape[3]))
        return detail.add_(photo).clamp_(*self.bounds)

    def _octave(self, octave: int, found: Plan, image: Tensor, asked: Callable[[], bool]) -> Tensor:
        steps = self.objective.shape[1] - 1
        gradient = torch.empty_like(image)
        good = image  # the last whose objective was a number
        # Shifted around its borders a photo has seams, which excite too: both ends have none.
        begun = found.slope(image, self.wanted, asked=asked) if self.jitter else None
        for number in range(steps):
            shift = self._shift(found.size)
            shifted = image.roll(shift, dims=(2, 3))
            worth = found.slope(
                shifted, self.wanted, gradient=gradient.zero_(), asked=asked, done=self._tell
            )
            if worth is None:
                self._interrupt(octave, number)
                return image
            strength = float(torch.linalg.vector_norm(gradient, 1)) / gradient.numel()
            if not (math.isfinite(worth) and math.isfinite(strength)):
                self._give_up(octave, number)
                return good
            good = image
            if octave == number == 0 and strength == 0:
                raise ConvlensError(
                    "nothing in this photo moves what was asked for: its gradient is zero; choose "
                    "another layer or channel, or begin with another photo"
                )
            self.objective[octave, number] = worth if number or begun is None else begun
            if strength > 0:
                shifted.add_(gradient, alpha=self.step / strength).clamp_(*self.bounds)
                image = shifted.roll((-shift[0], -shift[1]), dims=(2, 3))
        worth = found.slope(image, self.wanted, asked=asked)
        if worth is None:
            self._interrupt(octave, steps)
            return image
        if not math.isfinite(worth):
            self._give_up(octave, steps)
            return good
        self.objective[octave, steps] = worth
        return image

    def _tell(self) -> None:
        self.tiles += 1
        steps = self.objective.shape[1] - 1
        self.progress(self.tiles, steps * sum(len(one.tiles) for one in self.plans))

    def _shift(self, size: tuple[int, int]) -> tuple[int, int]:
        y, x = (
            int(torch.randint(-most, most + 1, (1,), generator=self.generator))
            for most in (min(self.jitter, side // 2) for side in size)
        )
        return y, x

    def _interrupt(self, octave: int, done: int) -> None:
        self.interrupted = True
        self.stopped = f"interrupted in {self._at(octave, done)}; the picture is that before it"

    def _give_up(self, octave: int, done: int) -> None:
        why = f"NaN or infinity in {self._at(octave, done)}"
        if octave == done == 0:
            raise ConvlensError(f"{why}: look at the network's weights at this layer")
        self.stopped = f"{why}; the picture is that before it"

    def _at(self, octave: int, done: int) -> str:
        octaves, steps = len(self.plans), self.objective.shape[1] - 1
        return f"octave {octave + 1} of {octaves}, step {min(done + 1, steps)} of {steps}"


def _guide(model: Model, guide: PhotoLike | Tensor) -> Tensor:
    return image_of(model, guide, None) if isinstance(guide, Tensor) else model.prepare(guide)


def _check(
    octaves: int,
    scale: float,
    steps: int,
    step: float,
    jitter: int,
    size: int | None,
    tile: int | None,
) -> None:
    for name, given, least in (
        ("octaves", octaves, 1), ("steps", steps, 1), ("jitter", jitter, 0),
        ("size", size, 1), ("tile", tile, 1),
    ):  # fmt: skip
        if given is not None and given < least:
            raise ConvlensError(f"{name} {given}; give at least {least}")
    if not 1 < scale < math.inf:
        raise ConvlensError(f"scale {scale:g} between octaves; give more than 1")
    if not 0 < step < math.inf:
        raise ConvlensError(f"step {step:g}; give more than 0, of 255 levels")
