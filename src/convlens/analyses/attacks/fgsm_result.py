"""Adversarial images of FGSM for each epsilon, and the network's predictions for them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from convlens.analyses.attacks.diagnostics import Diagnostic
from convlens.analyses.attacks.figures import (
    attack_figure,
    describe_answers,
    describe_change,
    draw_images,
    draw_signs,
    of_255,
    select_epsilons,
)
from convlens.analyses.attacks.steps import fgsm_step
from convlens.models.output_head import SIGMOID, SOFTMAX, predicted_classes
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, of_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Fgsm(NetworkResult):
    """Adversarial images for several epsilons, and the network's predictions for them.

    Attributes:
        images: float32 `(N, C, H, W)`, the attacked images x.
        signs: int8 `(N, C, H, W)`, the direction in which each pixel moves: the sign of the
            gradient of E, reversed towards a target.
        epsilons: the largest change of a pixel, in the units of the image (E of them).
        fractions: the same, as fractions of the span of the bounds.
        classes: int64 `(N,)`, the class t whose E increases, or towards a target decreases; -1 is
            "not class 0" of a network with one output.
        names: the names of these classes.
        class_origins: for each image where t comes from: "prediction", "label", "given" (by the
            argument `classes`) or "target".
        loss: the name of E: "cross-entropy" or "margin".
        losses: float32 `(N,)`, E of the images.
        zero_gradients: float32 `(N,)`, the share of the pixels whose gradient is exactly 0.
        bounds: the least and the greatest value of a pixel.
        logits: float32 `(N, classes)` of the images.
        adversarial_logits: float32 `(E, N, classes)` of the adversarial images x'; None if they
            were not scored.
        noise_logits: float32 `(E, N, classes)` of images with random signs of the same size, the
            control; None without a control.
        largest_changes: float32 `(E, N)`, max `|x' - x|` as measured, in the units of the image;
            None if nothing was scored.
        diagnostics: reasons not to trust these numbers.
        output_head: "softmax" or "sigmoid", by which the logits are read.
        prediction_names: the names of `predictions`.
        adversarial_names: for each epsilon the names of `adversarial_predictions`; empty if x' was
            not scored.
    """

    folder_title: ClassVar[str] = "FGSM"

    images: Tensor
    signs: Tensor
    epsilons: tuple[float, ...]
    fractions: tuple[float, ...]
    classes: Tensor
    names: tuple[str, ...]
    class_origins: tuple[str, ...]
    loss: str
    losses: Tensor
    zero_gradients: Tensor
    bounds: tuple[float, float]
    logits: Tensor
    adversarial_logits: Tensor | None
    noise_logits: Tensor | None
    largest_changes: Tensor | None
    diagnostics: tuple[Diagnostic, ...]
    output_head: str = SOFTMAX
    prediction_names: tuple[str, ...] = ()
    adversarial_names: tuple[tuple[str, ...], ...] = ()

    @property
    def formula(self) -> str:
        """The formula of x', in a line."""
        sign = "-" if "target" in self.class_origins else "+"
        low, high = self.bounds
        binary = "binary " if (self.output_head, self.loss) == (SIGMOID, "cross-entropy") else ""
        return (
            f"x' = clip(x {sign} epsilon sign(grad E(x, t)), {low:g}, {high:g}), "
            f"E the {binary}{self.loss} of class t"
        )

    def adversarial(self, index: int) -> Tensor:
        """The images x' at `epsilons[index]`, clipped to the bounds: float32 `(N, C, H, W)`."""
        return fgsm_step(self.images, self.signs, self.epsilons[index], self.bounds)

    def unclipped(self, index: int) -> Tensor:
        """The chapter's x' at `epsilons[index]` before clipping; it may leave the bounds."""
        return torch.add(self.images, self.signs, alpha=self.epsilons[index])

    @property
    def predictions(self) -> Tensor:
        """The predictions for x, int64 `(N,)`; -1 is "not class 0" of a network with one output."""
        return predicted_classes(self.logits, self.output_head)

    @property
    def adversarial_predictions(self) -> Tensor | None:
        """The predictions for x', int64 `(E, N)`; None if x' was not scored."""
        if self.adversarial_logits is None:
            return None
        return predicted_classes(self.adversarial_logits, self.output_head, dim=2)

    @property
    def noise_predictions(self) -> Tensor | None:
        """The predictions under random signs, int64 `(E, N)`; None without a control."""
        return (
            None
            if self.noise_logits is None
            else predicted_classes(self.noise_logits, self.output_head, dim=2)
        )

    @property
    def flipped(self) -> Tensor | None:
        """Bool `(E, N)`: the prediction for x' differs from that for x. None if not scored."""
        predictions = self.adversarial_predictions
        return None if predictions is None else predictions != self.predictions

    @property
    def noise_flipped(self) -> Tensor | None:
        """Bool `(E, N)`: random signs change the prediction. None without a control."""
        predictions = self.noise_predictions
        return None if predictions is None else predictions != self.predictions

    @property
    def reached(self) -> Tensor | None:
        """Bool `(E, N)`: the prediction for x' is class t, as intended with a target."""
        predictions = self.adversarial_predictions
        return None if predictions is None else predictions == self.classes

    def summary(self) -> str:
        """How many predictions change at the smallest and at the largest epsilon, in words."""
        images, flipped = counted(len(self.images), "image"), self.flipped
        if flipped is None or not len(flipped):
            return f"signs of the gradient of {images}; no adversarial image was scored"
        if len(self.images) == 1:
            return self._summarize_image(flipped[:, 0].tolist())
        parts = [
            f"of {int(flipped[end].sum())} of {images} at {of_255(self.fractions[end])}"
            for end in sorted({0, len(self.epsilons) - 1})
        ]
        words = f"FGSM changes the prediction {' and '.join(parts)}"
        if self.noise_flipped is not None:
            by_noise = int(self.noise_flipped[-1].sum())
            size = of_255(self.fractions[-1])
            words += f"; random signs at {size} change that of {by_noise}"
        return words

    def _summarize_image(self, flipped: list[bool]) -> str:
        """The smallest epsilon that changes the prediction of the only image, in words."""
        changed = any(flipped)
        number = flipped.index(True) if changed else len(flipped) - 1
        before, after = self.prediction_names, self.adversarial_names
        words = describe_change(
            f"FGSM {'at' if changed or number == 0 else 'up to'} {of_255(self.fractions[number])}",
            before[0] if before else "",
            after[number][0] if after else "",
            changed=changed,
        )
        if self.noise_flipped is None:
            return words
        if bool(self.noise_flipped[number, 0]):
            return f"{words}; random signs of this size change it{', too' * changed}"
        return f"{words}; random signs of this size do not{'' if changed else ' change it either'}"

    def table(self) -> Table | None:
        """For each epsilon how many predictions change, by FGSM and by random signs."""
        if self.flipped is None or self.largest_changes is None:
            return None
        noise = self.noise_flipped
        return Table.of(
            ["epsilon", "predictions changed", "by random signs", "largest change"],
            [
                [
                    of_255(fraction),
                    f"{int(self.flipped[number].sum())} of {len(self.images)}",
                    "" if noise is None else f"{int(noise[number].sum())} of {len(self.images)}",
                    f"{float(self.largest_changes[number].max()):.4g}",
                ]
                for number, fraction in enumerate(self.fractions)
            ],
        )

    def figure(self) -> "Figure":
        """A row for each image: the original, the signs, and the adversarial images with answers.

        At most six images and four epsilons are drawn.
        """
        adversarial = []
        for number in select_epsilons(len(self.epsilons)):
            titles = [f"epsilon {of_255(self.fractions[number])}"] * len(self.images)
            if self.adversarial_logits is not None:
                names = self.adversarial_names[number] if self.adversarial_names else ()
                scores = describe_answers(self.adversarial_logits[number], names, self.output_head)
                titles = ["\n".join(pair) for pair in zip(titles, scores, strict=True)]
            adversarial.append((draw_images(self.adversarial(number), self.bounds), titles))
        has_colors = self.signs.shape[1] in (1, 3)
        signs = draw_signs(self.signs if has_colors else self.signs[:, :1])
        return attack_figure(
            draw_images(self.images, self.bounds),
            describe_answers(self.logits, self.prediction_names, self.output_head),
            (signs, "sign of the gradient" + " of channel 0" * (not has_colors)),
            adversarial,
            f"FGSM {self._aim()}, {self.loss}",
        )

    def _aim(self) -> str:
        """Which class the attack moves away from or towards, in words."""
        classes = set(self.names)
        direction = "towards" if "target" in self.class_origins else "away from"
        return f"{direction} {self.names[0] if len(classes) == 1 else 'the class of each image'}"

    def pictures(self) -> dict[str, Tensor]:
        """Each image, its adversarial images, and the signs (mid-gray pixels do not move)."""
        pictures, count = {}, len(self.images)
        for image, pixels in enumerate(draw_images(self.images, self.bounds)):
            words = f"original, {self.prediction_names[image]}" * bool(self.prediction_names)
            pictures[of_image(image, count, words or "original")] = pixels.expand(-1, -1, 3)
        for number, fraction in enumerate(self.fractions):
            names = self.adversarial_names[number] if self.adversarial_names else ()
            for image, pixels in enumerate(draw_images(self.adversarial(number), self.bounds)):
                words = f"epsilon {fraction * 255:.3g} of 255"
                words += f", {names[image]}" if names else ""
                pictures[of_image(image, count, words)] = pixels.expand(-1, -1, 3)
        for image, signs in enumerate(draw_signs(self.signs)):
            pictures[of_image(image, count, "signs")] = signs.expand(-1, -1, 3)
        return pictures
