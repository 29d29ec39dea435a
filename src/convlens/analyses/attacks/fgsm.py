"""The fast gradient sign method (FGSM): x' = clip(x + epsilon sign(grad_x E(x, t))).

E is the cross-entropy of class t (Bishop & Bishop, Deep Learning, section 10.3; Goodfellow et al.,
Explaining and Harnessing Adversarial Examples, 2014) or a margin; for a network that ends in a
sigmoid it is the binary cross-entropy (see `criterion`). One gradient serves every epsilon. sign(0)
is 0: such pixels do not change. Towards a target class the sign is reversed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.attacks.criterion import AttackCriterion, Classes, exact, slope
from convlens.analyses.attacks.diagnostics import (
    Diagnostic,
    answer_twice,
    find_diagnostics,
    in_training,
)
from convlens.analyses.predictions.predictions import class_scores
from convlens.capture import recording
from convlens.data.images import to_pixels
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model, check_model
from convlens.models.output_head import SIGMOID, SOFTMAX, predicted_classes
from convlens.results import Result
from convlens.tracing.trace import trace

Epsilon = float | str


@dataclass(frozen=True, eq=False)
class Fgsm(Result):
    """Adversarial images for several epsilons, and what the network says to them.

    Attributes:
        images: float32 `(N, C, H, W)`, as given.
        signs: int8 `(N, C, H, W)`, in which direction each pixel moves: sign of the gradient of E,
            turned round towards a target.
        epsilons: largest change of a pixel, in the image's units.
        fractions: the same, of the span of the bounds.
        classes: int64 `(N,)`, the class t whose E grows, or towards a target shrinks; -1 is "not
            class 0" of a network with one output.
        names: of those classes.
        class_origins: for each image where t comes from: "prediction", "label", "given", "target".
        loss: name of E: "cross-entropy" or "margin".
        losses: float32 `(N,)`, E of the images.
        zero_gradients: float32 `(N,)`, share of the pixels whose gradient is exactly 0.
        bounds: of the images.
        logits: float32 `(N, classes)` of the images.
        adversarial_logits: float32 `(E, N, classes)`, or None where they were not scored.
        noise_logits: the same for random signs of the same size, the control.
        largest_changes: float32 `(E, N)`, max |x' - x| as measured, in the image's units; None
            where nothing was scored.
        diagnostics: what speaks against trusting these numbers.
        output_head: "softmax" or "sigmoid", by which the logits are read.
    """

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

    @property
    def formula(self) -> str:
        """How x' is made, in a line."""
        sign = "-" if "target" in self.class_origins else "+"
        low, high = self.bounds
        binary = "binary " if (self.output_head, self.loss) == (SIGMOID, "cross-entropy") else ""
        return (
            f"x' = clip(x {sign} epsilon sign(grad E(x, t)), {low:g}, {high:g}), "
            f"E the {binary}{self.loss} of class t"
        )

    def adversarial(self, index: int) -> Tensor:
        """The images x' at `epsilons[index]`, clipped to the bounds: float32 `(N, C, H, W)`."""
        return step(self.images, self.signs, self.epsilons[index], self.bounds)

    def unclipped(self, index: int) -> Tensor:
        """The chapter's x' at `epsilons[index]` before clipping, which may leave the bounds."""
        return torch.add(self.images, self.signs, alpha=self.epsilons[index])

    @property
    def predictions(self) -> Tensor:
        """int64 `(N,)`, the answers to x; -1 is "not class 0" of a network with one output."""
        return predicted_classes(self.logits, self.output_head)

    @property
    def adversarial_predictions(self) -> Tensor | None:
        """int64 `(E, N)`, the answers to x'. None where not scored."""
        if self.adversarial_logits is None:
            return None
        return predicted_classes(self.adversarial_logits, self.output_head, dim=2)

    @property
    def noise_predictions(self) -> Tensor | None:
        """The same for random signs."""
        return (
            None
            if self.noise_logits is None
            else predicted_classes(self.noise_logits, self.output_head, dim=2)
        )

    @property
    def flipped(self) -> Tensor | None:
        """Bool `(E, N)`: the answer to x' is another than that to x. None where not scored."""
        said = self.adversarial_predictions
        return None if said is None else said != self.predictions

    @property
    def noise_flipped(self) -> Tensor | None:
        """The same for random signs."""
        said = self.noise_predictions
        return None if said is None else said != self.predictions

    @property
    def reached(self) -> Tensor | None:
        """Bool `(E, N)`: the answer to x' is class t, as a target is meant to become."""
        said = self.adversarial_predictions
        return None if said is None else said == self.classes

    def pictures(self) -> dict[str, Tensor]:
        """Each adversarial image, and the signs (mid-gray is unchanged)."""
        found = {}
        for number, fraction in enumerate(self.fractions):
            for image, pixels in enumerate(to_pixels(self.adversarial(number), self.bounds)):
                found[f"{image}-epsilon-{fraction * 255:.3g}of255"] = pixels.expand(-1, -1, 3)
        for image, signs in enumerate(self.signs):
            gray = (signs.float() * 127 + 128).to(torch.uint8).permute(1, 2, 0)
            found[f"{image}-signs"] = gray.expand(-1, -1, 3)
        return found


@recording()
def fgsm(
    model: Model,
    images: Tensor,
    epsilons: Epsilon | Sequence[Epsilon] = ("1/255", "2/255", "4/255", "8/255"),
    *,
    classes: Classes | None = None,
    labels: Sequence[int | None] | None = None,
    target: Classes | None = None,
    loss: str = "cross-entropy",
    score: bool = True,
    control: bool = True,
    seed: int = 0,
) -> Fgsm:
    """Adversarial images for all epsilons from one forward and one backward pass.

    Args:
        model: the model, left untouched.
        images: `(N, C, H, W)` inside the bounds. In half precision they are taken as float32, in
            which a pixel can be changed by epsilon and no more.
        epsilons: largest change of a pixel, one or several. A fraction as text ("8/255") is of the
            span of the bounds, a number is in the image's units.
        classes: the class t to move away from, one for all or int64 `(N,)`; default: the one that
            the network answers.
        labels: instead, for each image the class that is right, or None where the network's
            answer is to be taken.
        target: instead, the class to move towards: E of it shrinks. A network with one output has
            two, class 0 and -1 or "not NAME".
        loss: E: "cross-entropy", or "margin", the highest other logit minus that of t, for
            networks so sure that the gradient of their cross-entropy is 0.
        score: run the network on every x', and measure the changes.
        control: with `score`: run it on random signs of the same size as well, and on the images
            once more, to see whether it answers the same twice.
        seed: of the control's random signs.

    Raises:
        ConvlensError: no epsilon, an epsilon, a class or a loss that cannot be used, or images
            that the model does not take.
    """
    check_model(model)
    model.check_shape(images)
    sizes = epsilon_sizes(epsilons, model.bounds)
    training = in_training(model.network)
    images = exact(images)
    found = trace(model, images)
    made = slope(model, found, images, AttackCriterion(classes, labels, target, loss))
    source, signs, raw = images, made.signs, made.logits
    values, largest, scores = source[0].numel(), [], []
    if score:
        for size in sizes:  # one at a time: memory that is used again is not cleared again
            changed = step(source, signs, size, model.bounds)
            scores.append(class_scores(model, found, changed))
            largest.append(changed.sub_(source).abs_().amax(dim=(1, 2, 3)))
    noise, again = None, None
    if score and control:
        generator = torch.Generator().manual_seed(seed)
        # Random signs where the gradient has one: the same pixels move, by the same amount.
        drawn = torch.randint(0, 2, source.shape, generator=generator) * 2 - 1
        random = drawn.to(signs) * signs.abs()
        noise = torch.stack(
            [class_scores(model, found, step(source, random, size, model.bounds)) for size in sizes]
        ).cpu()
        again = answer_twice(model, found, source)
    zero = ((values - signs.abs().sum(dim=(1, 2, 3))) / values).cpu()
    return Fgsm(
        images=source.cpu(),
        signs=signs.to(torch.int8).cpu(),
        epsilons=tuple(sizes),
        fractions=tuple(size / model.span for size in sizes),
        classes=made.classes.cpu(),
        names=tuple(class_name(model.labels, index) for index in made.classes.tolist()),
        class_origins=made.origins,
        loss=loss,
        losses=made.losses.float().cpu(),
        zero_gradients=zero,
        bounds=model.bounds,
        logits=raw.float().cpu(),
        adversarial_logits=torch.stack(scores).cpu() if score else None,
        noise_logits=noise,
        largest_changes=torch.stack(largest).cpu() if score else None,
        diagnostics=find_diagnostics(
            model, found, source, raw, zero, again=again, training=training, loss=loss
        ),
        output_head=found.output_head,
    )


def step(images: Tensor, signs: Tensor, size: float, bounds: tuple[float, float]) -> Tensor:
    """X + size * signs, clipped to the bounds."""
    return torch.add(images, signs, alpha=size).clamp_(bounds[0], bounds[1])


def epsilon_sizes(
    epsilons: Epsilon | Sequence[Epsilon], bounds: tuple[float, float]
) -> list[float]:
    """Epsilons in the image's units.

    Raises:
        ConvlensError: none, or one that `epsilon_size` refuses.
    """
    several = [epsilons] if isinstance(epsilons, (str, int, float)) else list(epsilons)
    if not several:
        raise ConvlensError("no epsilon; give at least one, such as 8/255")
    return [epsilon_size(epsilon, bounds) for epsilon in several]


def epsilon_size(epsilon: Epsilon, bounds: tuple[float, float]) -> float:
    """An epsilon in the image's units: "8/255" is of the span, a number stands as it is.

    Raises:
        ConvlensError: not a number, negative, or larger than the span.
    """
    span = bounds[1] - bounds[0]
    try:
        if isinstance(epsilon, str) and "/" in epsilon:
            above, below = epsilon.split("/")
            size = span * float(above) / float(below)
        else:
            size = float(epsilon)
    except (TypeError, ValueError, ZeroDivisionError):
        raise ConvlensError(
            f"epsilon {epsilon!r} is not a number; write 8/255, or a number in image units"
        ) from None
    if not 0 <= size <= span:
        raise ConvlensError(
            f"epsilon {epsilon} is {size:g} in image units, outside 0 to {span:g}; "
            f"write 8/255 for eight gray levels"
        )
    return size
