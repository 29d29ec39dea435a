"""Projected gradient descent (PGD): many small FGSM steps from a random start, within epsilon.

    x0 = x + u,  x(k+1) = clip(P(xk + step sign(grad E(xk, t))))

P limits the change to epsilon in every pixel (Madry et al., Towards Deep Learning Models Resistant
to Adversarial Attacks, 2018). FGSM computes the gradient once: a network whose gradient at the
image is misleading seems robust under FGSM but is not. PGD is the control for this case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from convlens.analyses.attacks.criterion import (
    AttackCriterion,
    ClassIndices,
    loss_gradient,
    to_attackable,
)
from convlens.analyses.attacks.epsilon import Epsilon, parse_epsilon
from convlens.analyses.attacks.figures import (
    attack_figure,
    describe_answers,
    describe_change,
    draw_change,
    draw_images,
    of_255,
)
from convlens.analyses.attacks.steps import pgd_start, pgd_step, pgd_step_size
from convlens.analyses.predictions.predictions import compute_logits
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.gradients import enable_gradients
from convlens.models.labels import class_names
from convlens.models.model import ImagesLike, Model, check_model
from convlens.models.output_head import SOFTMAX, predicted_classes
from convlens.passes.random_numbers import random_uniform
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted, of_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 10


@dataclass(frozen=True, eq=False)
class Pgd(NetworkResult):
    """Adversarial images for one epsilon, and the network's predictions for them.

    Attributes:
        images: float32 `(N, C, H, W)`, the attacked images x.
        adversarial: float32 `(N, C, H, W)`, x' after the last step.
        epsilon: the largest change of a pixel, in the units of the image.
        fraction: the same, as a fraction of the span of the bounds.
        steps: the number of steps.
        step_size: the size of a step, in the units of the image.
        classes: int64 `(N,)`, the class t whose E increases, or towards a target decreases; -1 is
            "not class 0" of a network with one output.
        names: the names of these classes.
        class_origins: for each image where t comes from: "prediction", "label", "given" (by the
            argument `classes`) or "target".
        loss: the name of E: "cross-entropy" or "margin".
        bounds: the least and the greatest value of a pixel.
        logits: float32 `(N, classes)` of the images.
        adversarial_logits: float32 `(N, classes)` of x'.
        largest_changes: float32 `(N,)`, max `|x' - x|` as measured, in the units of the image.
        output_head: "softmax" or "sigmoid", by which the logits are read.
        prediction_names: the names of the predictions for x.
        adversarial_names: the names of the predictions for x'.
    """

    folder_title: ClassVar[str] = "PGD"

    images: Tensor
    adversarial: Tensor
    epsilon: float
    fraction: float
    steps: int
    step_size: float
    classes: Tensor
    names: tuple[str, ...]
    class_origins: tuple[str, ...]
    loss: str
    bounds: tuple[float, float]
    logits: Tensor
    adversarial_logits: Tensor
    largest_changes: Tensor
    output_head: str = SOFTMAX
    prediction_names: tuple[str, ...] = ()
    adversarial_names: tuple[str, ...] = ()

    @property
    def flipped(self) -> Tensor:
        """Bool `(N,)`: the prediction for x' differs from that for x."""
        return predicted_classes(self.adversarial_logits, self.output_head) != predicted_classes(
            self.logits, self.output_head
        )

    def summary(self) -> str:
        """How many predictions change, in words."""
        attack = f"PGD of {counted(self.steps, 'step')} within {of_255(self.fraction)}"
        if len(self.images) == 1:
            before, after = (*self.prediction_names, ""), (*self.adversarial_names, "")
            return describe_change(attack, before[0], after[0], changed=bool(self.flipped[0]))
        return (
            f"{attack} changes the prediction of {int(self.flipped.sum())} of "
            f"{counted(len(self.images), 'image')}"
        )

    def table(self) -> Table:
        """The prediction for each image before and after."""
        before, after = self._answers()
        return Table.of(
            ["image", "prediction", "after PGD", "largest change"],
            [
                [str(image), before[image], after[image], f"{float(change):.4g}"]
                for image, change in enumerate(self.largest_changes)
            ],
        )

    def figure(self) -> "Figure":
        """A row for each image: the original, the change, and the adversarial image with answers.

        At most six images are drawn.
        """
        photos = draw_images(self.images, self.bounds)
        adversarial = draw_images(self.adversarial, self.bounds)
        change = adversarial.float() - photos.float()
        before, after = self._answers()
        titles = [f"epsilon {of_255(self.fraction)}\n{answer}" for answer in after]
        return attack_figure(
            photos,
            before,
            draw_change(change.permute(0, 3, 1, 2)),
            [(adversarial, titles)],
            f"PGD, {counted(self.steps, 'step')}, {self.loss}",
        )

    def _answers(self) -> tuple[list[str], list[str]]:
        """The answers for x and for x', with their probabilities."""
        return (
            describe_answers(self.logits, self.prediction_names, self.output_head),
            describe_answers(self.adversarial_logits, self.adversarial_names, self.output_head),
        )

    def pictures(self) -> dict[str, Tensor]:
        """The adversarial images."""
        names = self.adversarial_names
        words = f"PGD {self.fraction * 255:.3g} of 255"
        return {
            of_image(image, len(names), f"{words}, {names[image]}"): pixels.expand(-1, -1, 3)
            for image, pixels in enumerate(draw_images(self.adversarial, self.bounds))
        }


@keep_warnings
@enable_gradients()
@fold_batch_norms()
def pgd(
    model: Model,
    images: ImagesLike,
    epsilon: Epsilon = "8/255",
    *,
    classes: ClassIndices | None = None,
    labels: Sequence[int | None] | None = None,
    target: ClassIndices | None = None,
    loss: str = "cross-entropy",
    steps: int = STEPS,
    step_size: float | None = None,
    random_start: bool = True,
    seed: int = 0,
) -> Pgd:
    """Make adversarial images by projected gradient descent, the stronger control beside FGSM.

    At most one of `classes`, `labels` and `target` is given.

    Args:
        model: the model to attack; left untouched.
        images: `(N, C, H, W)` inside the bounds, or photos as `Model.prepare` takes them.
        epsilon: the largest change of a pixel. A fraction as text ("8/255") is of the span of the
            bounds; a plain number is in the units of the image. Default: "8/255".
        classes: the class t to move away from, by name or index, one for all images or int64
            `(N,)`. Default: the network's prediction.
        labels: for each image the index of its right class, which is moved away from, or None to
            use the network's prediction; default: no labels.
        target: the class to move towards, by name or index, one for all images or int64 `(N,)`;
            default: none.
        loss: E: "cross-entropy", or "margin" (the highest other logit minus that of t). Default:
            "cross-entropy".
        steps: the number of steps; each is a pass forward and back. Default: 10.
        step_size: the size of a step, in the units of the image. Default: 2.5 epsilon / steps.
        random_start: begin at a random point within epsilon, drawn for each image; otherwise at the
            image. Default: True.
        seed: seed of the random start; default 0.

    Returns:
        The adversarial images, and the network's predictions for them.

    Raises:
        ConvlensError: if steps, step size, epsilon, a class or the loss cannot be used, or the
            model does not take the images.

    References:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> attack = convlens.pgd(model, torch.rand(2, 3, 8, 8), "8/255", steps=3)
        >>> attack.adversarial.shape, bool(attack.largest_changes.max() <= 8 / 255 + 1e-6)
        (torch.Size([2, 3, 8, 8]), True)
    """
    check_model(model)
    images = model.to_images(images)
    largest_change = parse_epsilon(epsilon, model.bounds)
    step_size = pgd_step_size(largest_change, steps, step_size)
    images = to_attackable(images)
    trace = trace_network(model, images)
    logits = compute_logits(model, trace, images)
    chosen_classes, origins = AttackCriterion(classes, labels, target, loss).choose_classes(
        model, logits, trace.output_head
    )
    if target is None:
        criterion = AttackCriterion(classes=chosen_classes, loss=loss)
    else:
        criterion = AttackCriterion(target=chosen_classes, loss=loss)
    noise = random_uniform(images, torch.arange(len(images)), seed) if random_start else None
    adversarial = pgd_start(images, noise, largest_change, model.bounds)
    for _ in range(steps):
        signs = loss_gradient(model, trace, adversarial, criterion).signs
        adversarial = pgd_step(images, adversarial, signs, largest_change, step_size, model.bounds)
    adversarial_logits = compute_logits(model, trace, adversarial)
    predictions, adversarial_predictions = (
        predicted_classes(values, trace.output_head).tolist()
        for values in (logits, adversarial_logits)
    )
    return Pgd(
        images=images.cpu(),
        adversarial=adversarial.cpu(),
        epsilon=largest_change,
        fraction=largest_change / model.span,
        steps=steps,
        step_size=step_size,
        classes=chosen_classes.cpu(),
        names=class_names(model.labels, chosen_classes.tolist()),
        class_origins=origins,
        loss=loss,
        bounds=model.bounds,
        logits=logits.cpu(),
        adversarial_logits=adversarial_logits.cpu(),
        largest_changes=(adversarial - images).abs().amax(dim=(1, 2, 3)).cpu(),
        output_head=trace.output_head,
        prediction_names=class_names(model.labels, predictions),
        adversarial_names=class_names(model.labels, adversarial_predictions),
    )
