"""Projected gradient descent: many small steps of FGSM from a random start, kept within epsilon.

    x0 = x + u,  x(k+1) = clip(P(xk + step sign(grad E(xk, t))))

P cuts the change to at most epsilon in every pixel (Madry et al., Towards Deep Learning Models
Resistant to Adversarial Attacks, 2018). FGSM takes one look at the gradient; a network that hides
it there looks strong to FGSM and is not. That is what PGD is the control for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.attacks import draws
from convlens.analyses.attacks.criterion import AttackCriterion, Classes, exact, slope
from convlens.analyses.attacks.fgsm import Epsilon, epsilon_size
from convlens.analyses.predictions.predictions import class_scores
from convlens.capture import recording
from convlens.data.images import to_pixels
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model, check_model
from convlens.models.output_head import SOFTMAX, predicted_classes
from convlens.results import Result
from convlens.tracing.trace import Trace, trace

STEPS = 10
_REACH = 2.5  # epsilons that all steps together may walk: to any corner and back (Madry's factor)


@dataclass(frozen=True, eq=False)
class Pgd(Result):
    """Adversarial images of one epsilon, and what the network says to them.

    Attributes:
        images: float32 `(N, C, H, W)`, as given.
        adversarial: float32 `(N, C, H, W)`, x' after the last step.
        epsilon: largest change of a pixel, in the image's units.
        fraction: the same, of the span of the bounds.
        steps: how many.
        step: size of each, in the image's units.
        classes: int64 `(N,)`, the class t whose E grows, or towards a target shrinks; -1 as for
            `Fgsm`.
        names: of those classes.
        class_origins: for each image where t comes from: "prediction", "label", "given", "target".
        loss: name of E.
        bounds: of the images.
        logits: float32 `(N, classes)` of the images.
        adversarial_logits: float32 `(N, classes)` of x'.
        largest_changes: float32 `(N,)`, max |x' - x| as measured, in the image's units.
        output_head: "softmax" or "sigmoid", by which the logits are read.
    """

    images: Tensor
    adversarial: Tensor
    epsilon: float
    fraction: float
    steps: int
    step: float
    classes: Tensor
    names: tuple[str, ...]
    class_origins: tuple[str, ...]
    loss: str
    bounds: tuple[float, float]
    logits: Tensor
    adversarial_logits: Tensor
    largest_changes: Tensor
    output_head: str = SOFTMAX

    @property
    def flipped(self) -> Tensor:
        """Bool `(N,)`: the answer to x' is another than that to x."""
        return predicted_classes(self.adversarial_logits, self.output_head) != predicted_classes(
            self.logits, self.output_head
        )

    def pictures(self) -> dict[str, Tensor]:
        """The adversarial images."""
        return {
            f"{image}-pgd": pixels.expand(-1, -1, 3)
            for image, pixels in enumerate(to_pixels(self.adversarial, self.bounds))
        }


@recording()
def pgd(
    model: Model,
    images: Tensor,
    epsilon: Epsilon = "8/255",
    *,
    classes: Classes | None = None,
    labels: Sequence[int | None] | None = None,
    target: Classes | None = None,
    loss: str = "cross-entropy",
    steps: int = STEPS,
    size: float | None = None,
    start: bool = True,
    seed: int = 0,
) -> Pgd:
    """Adversarial images by projected gradient descent, the stronger control beside FGSM.

    Args:
        model: the model, left untouched.
        images: `(N, C, H, W)` inside the bounds.
        epsilon: largest change of a pixel, as for `fgsm`.
        classes: as for `fgsm`.
        labels: likewise.
        target: likewise.
        loss: likewise.
        steps: how many; each is a pass forward and back.
        size: of a step, in the image's units; default: 2.5 epsilon / steps.
        start: begin at a random place within epsilon, drawn for each image; else at the image.
        seed: of that.

    Raises:
        ConvlensError: steps or a size that cannot be used, or as `fgsm`.
    """
    check_model(model)
    model.check_shape(images)
    most = epsilon_size(epsilon, model.bounds)
    each = step_size(most, steps, size)
    source = exact(images)
    found = trace(model, source)
    logits = class_scores(model, found, source)
    against, origins = AttackCriterion(classes, labels, target, loss).choose(
        model, logits, found.output_head
    )
    criterion = (
        AttackCriterion(classes=against, loss=loss)
        if target is None
        else AttackCriterion(target=against, loss=loss)
    )
    noise = draws.uniform(source, torch.arange(len(source)), seed) if start else None
    changed = begin(source, noise, most, model.bounds)
    for _ in range(steps):
        changed = onwards(model, found, source, changed, criterion, most, each)
    return Pgd(
        images=source.cpu(),
        adversarial=changed.cpu(),
        epsilon=most,
        fraction=most / model.span,
        steps=steps,
        step=each,
        classes=against.cpu(),
        names=tuple(class_name(model.labels, index) for index in against.tolist()),
        class_origins=origins,
        loss=loss,
        bounds=model.bounds,
        logits=logits.cpu(),
        adversarial_logits=class_scores(model, found, changed).cpu(),
        largest_changes=(changed - source).abs().amax(dim=(1, 2, 3)).cpu(),
        output_head=found.output_head,
    )


def step_size(epsilon: float, steps: int, size: float | None = None) -> float:
    """The size of a step, in the image's units.

    Raises:
        ConvlensError: no steps, or a size that is not positive.
    """
    if steps < 1:
        raise ConvlensError(f"{steps} steps; give at least 1")
    if size is not None and not 0 < size < float("inf"):
        raise ConvlensError(f"a step of {size:g}; give a positive number in image units")
    return _REACH * epsilon / steps if size is None else size


def begin(
    images: Tensor, noise: Tensor | None, epsilon: float, bounds: tuple[float, float]
) -> Tensor:
    """X plus epsilon times noise of -1 to 1, inside the bounds."""
    if noise is None:
        return images.clone(memory_format=torch.preserve_format)
    return torch.add(images, noise, alpha=epsilon).clamp_(*bounds)


def onwards(
    model: Model,
    found: Trace,
    images: Tensor,
    changed: Tensor,
    criterion: AttackCriterion,
    epsilon: float,
    size: float,
) -> Tensor:
    """One step further from `changed`, at most epsilon from `images`, inside the bounds."""
    made = slope(model, found, changed, criterion)
    return projected(images, changed, made.signs, epsilon, size, model.bounds)


def projected(
    images: Tensor, changed: Tensor, signs: Tensor, epsilon: float, size: float,
    bounds: tuple[float, float],
) -> Tensor:  # fmt: skip
    """A step along `signs`, cut to at most epsilon from `images` and to the bounds."""
    apart = torch.add(changed, signs, alpha=size).sub_(images).clamp_(-epsilon, epsilon)
    return apart.add_(images).clamp_(*bounds)
