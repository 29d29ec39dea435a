"""The steps of a dream: gradient ascent at each octave, with the added detail carried over."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.deepdream.objective import ActivationObjective
from convlens.analyses.deepdream.octaves import resize_image
from convlens.analyses.deepdream.tiles import TilePlan
from convlens.errors import ConvlensError


@dataclass
class OctaveLoop:
    """Gradient ascent on a photo, octave by octave.

    Attributes:
        activation_objective: gives the error signal and the objective.
        plans: the tiles of each octave, the smallest octave first.
        objective: float64 `(O, S + 1)`, filled with the objective before each step and after the
            last one.
        step: mean change of a pixel in one step, in image units.
        jitter: largest random shift before each step, in pixels.
        bounds: least and greatest value of a pixel.
        generator: random generator of the shifts.
        progress: called with the number of tiles done and their total.
        preview: called after each step with the image `(C, H, W)` of this octave; None: not called.
        stopped: why the loop ended early; empty if it did not.
        interrupted: whether an interrupt ended it.
        tiles_done: number of tiles done.
    """

    activation_objective: ActivationObjective
    plans: list[TilePlan]
    objective: Tensor
    step: float
    jitter: int
    bounds: tuple[float, float]
    generator: torch.Generator
    progress: Callable[[int, int], None]
    preview: Callable[[Tensor], None] | None
    stopped: str = ""
    interrupted: bool = False
    tiles_done: int = 0

    def run(self, photo: Tensor, is_interrupted: Callable[[], bool]) -> Tensor:
        """Dream of a photo `(1, C, H, W)`; if the loop is stopped, the image up to then."""
        base = image = photo
        for octave, plan in enumerate(self.plans):
            detail = None if octave == 0 else resize_image(image - base, plan.size)
            base = resize_image(photo, plan.size).clamp_(*self.bounds)
            image = base.clone() if detail is None else detail.add_(base).clamp_(*self.bounds)
            del detail
            image = self._run_octave(octave, plan, image, is_interrupted)
            if self.stopped:
                break
        if image.shape == photo.shape:
            return image
        detail = resize_image(image - base, (photo.shape[2], photo.shape[3]))
        return detail.add_(photo).clamp_(*self.bounds)

    def _run_octave(
        self, octave: int, plan: TilePlan, image: Tensor, is_interrupted: Callable[[], bool]
    ) -> Tensor:
        steps = self.objective.shape[1] - 1
        gradient = torch.empty_like(image)
        last_finite = image  # the last image whose objective was finite
        # A shifted photo has seams, which also excite units. The first and the last value of the
        # objective are those of the photo without a shift.
        unshifted = (
            plan.evaluate(image, self.activation_objective, is_interrupted=is_interrupted)
            if self.jitter
            else None
        )
        for number in range(steps):
            shift = self._draw_shift(plan.size)
            shifted = image.roll(shift, dims=(2, 3))
            value = plan.evaluate(
                shifted,
                self.activation_objective,
                gradient=gradient.zero_(),
                is_interrupted=is_interrupted,
                after_tile=self._count_tile,
            )
            if value is None:
                self._note_interrupt(octave, number)
                return image
            strength = float(torch.linalg.vector_norm(gradient, 1)) / gradient.numel()
            if not (math.isfinite(value) and math.isfinite(strength)):
                self._note_nan(octave, number)
                return last_finite
            last_finite = image
            if octave == number == 0 and strength == 0:
                raise ConvlensError(
                    "nothing in this photo changes the objective: its gradient is zero; choose "
                    "another layer or channel, or begin with another photo"
                )
            self.objective[octave, number] = value if number or unshifted is None else unshifted
            if strength > 0:
                shifted.add_(gradient, alpha=self.step / strength).clamp_(*self.bounds)
                image = shifted.roll((-shift[0], -shift[1]), dims=(2, 3))
            if self.preview is not None:
                self.preview(image[0].float().cpu())
        value = plan.evaluate(image, self.activation_objective, is_interrupted=is_interrupted)
        if value is None:
            self._note_interrupt(octave, steps)
            return image
        if not math.isfinite(value):
            self._note_nan(octave, steps)
            return last_finite
        self.objective[octave, steps] = value
        return image

    def _count_tile(self) -> None:
        self.tiles_done += 1
        steps = self.objective.shape[1] - 1
        self.progress(self.tiles_done, steps * sum(len(plan.tiles) for plan in self.plans))

    def _draw_shift(self, size: tuple[int, int]) -> tuple[int, int]:
        y, x = (
            int(torch.randint(-largest, largest + 1, (1,), generator=self.generator))
            for largest in (min(self.jitter, side // 2) for side in size)
        )
        return y, x

    def _note_interrupt(self, octave: int, step: int) -> None:
        self.interrupted = True
        self.stopped = (
            f"interrupted in {self._position(octave, step)}; the picture is that before it"
        )

    def _note_nan(self, octave: int, step: int) -> None:
        reason = f"NaN or infinity in {self._position(octave, step)}"
        if octave == step == 0:
            raise ConvlensError(f"{reason}: check the network's weights at this layer")
        self.stopped = f"{reason}; the picture is that before it"

    def _position(self, octave: int, step: int) -> str:
        octaves, steps = len(self.plans), self.objective.shape[1] - 1
        return f"octave {octave + 1} of {octaves}, step {min(step + 1, steps)} of {steps}"
