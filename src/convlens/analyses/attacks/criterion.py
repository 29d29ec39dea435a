"""Aims: which class an attack minds in each image, and what it makes greater or smaller there.

E(x, t) is the cross-entropy of class t, or the margin by which t is behind: the highest other logit
minus that of t. Where a network is so sure that its probabilities are exactly 0 and 1 the
cross-entropy has no gradient left, and the margin still has one.

Under a sigmoid at the end the cross-entropy is the binary one of class t alone, which falls with
the logit of t; the answer is the highest logit, as ever. One output answers class 0 or not class 0:
t is one of these two, the other logit of the margin is 0, and the answer flips with the sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.predictions.predictions import as_scores
from convlens.capture import backward, observe
from convlens.errors import ConvlensError
from convlens.models.labels import find_prediction
from convlens.models.model import Model
from convlens.models.output_head import (
    cross_entropy,
    lowest_prediction,
    misclassification_margin,
    predicted_classes,
)
from convlens.runtime.guard import untouched
from convlens.tracing.trace import Trace

LOSSES = ("cross-entropy", "margin")

Classes = Tensor | str | int


@dataclass(frozen=True)
class AttackCriterion:
    """What an attack minds.

    Attributes:
        classes: class t, one for all or int64 `(N,)`; default: see `labels`. Of a network with one
            output -1 is "not class 0".
        labels: for each image the class that is right, or None where nobody knows; of those, and
            without labels of all, t is the network's answer.
        target: move towards this class instead: one for all or int64 `(N,)`.
        loss: E, one of `LOSSES`.

    Raises:
        ConvlensError: another loss, or more than one of classes, labels and target.
    """

    classes: Classes | None = None
    labels: Sequence[int | None] | None = None
    target: Classes | None = None
    loss: str = "cross-entropy"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ConvlensError(f"loss {self.loss!r}; it is {' or '.join(LOSSES)}")
        if sum(one is not None for one in (self.classes, self.labels, self.target)) > 1:
            raise ConvlensError(
                "more than one of classes, labels and target; an attack moves away from a class "
                "or towards one"
            )

    @property
    def sign(self) -> int:
        """+1 where E is to grow, -1 where it is to shrink (with a target)."""
        return 1 if self.target is None else -1

    def choose(
        self, model: Model, logits: Tensor, output_head: str
    ) -> tuple[Tensor, tuple[str, ...]]:
        """Class t of each image, int64 `(N,)`, and where each comes from.

        Origins are "prediction", "label", "given" and "target". `output_head` is the logits'.

        Raises:
            ConvlensError: a class that there is not, or not one for each image.
        """
        count, known = logits.shape
        least = lowest_prediction(known, output_head)
        if known < 2 and least == 0:
            raise ConvlensError(f"{model.name} has one class, which no attack can change")
        said = predicted_classes(logits, output_head)
        if self.labels is not None:
            if len(self.labels) != count:
                raise ConvlensError(f"{len(self.labels)} labels for {count} images")
            given = [None if one is None else int(one) for one in self.labels]
            if any(one is not None and not least <= one < known for one in given):
                raise ConvlensError(f"a label outside {least} to {known - 1}")
            origins = tuple("prediction" if one is None else "label" for one in given)
            unknown = torch.tensor([one is None for one in given]).to(said.device)
            right = torch.tensor([one or 0 for one in given]).to(said)
            return torch.where(unknown, said, right), origins
        wanted = self.classes if self.target is None else self.target
        if wanted is None:
            return said, ("prediction",) * count
        return _classes(model, wanted, count, known, least).to(said), (
            "given" if self.target is None else "target",
        ) * count


def energy(logits: Tensor, classes: Tensor, loss: str, output_head: str) -> Tensor:
    """E of each image, `(N,)`: `loss` is one of `LOSSES`."""
    return (cross_entropy if loss == "cross-entropy" else misclassification_margin)(
        logits, classes, output_head
    )


@dataclass(frozen=True)
class Slope:
    """One pass forward and back.

    Attributes:
        logits: `(N, classes)` of the network's type.
        classes: int64 `(N,)`, t.
        origins: where each t comes from.
        losses: `(N,)`, E.
        signs: `(N, C, H, W)` of the image's type, the direction in which pixels are to move; 0
            where the gradient is exactly 0.
    """

    logits: Tensor
    classes: Tensor
    origins: tuple[str, ...]
    losses: Tensor
    signs: Tensor


def slope(model: Model, found: Trace, images: Tensor, criterion: AttackCriterion) -> Slope:
    """The signs of the gradient of E to the images, turned round where E is to shrink.

    To be called inside `probe.recording`.

    Raises:
        ConvlensError: a gradient that is not finite, or as `AttackCriterion.choose`.
    """
    leaf = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    # Guarded to the end: a network may compute parts of itself again in the backward pass.
    with untouched(model.network):
        raw = as_scores(model, observe(model, found, leaf, [found.logits])[found.logits])
        classes, origins = criterion.choose(model, raw.detach(), found.output_head)
        losses = energy(raw, classes, criterion.loss, found.output_head)
        # The sum, not the mean: an image's gradient must not depend on how many are beside it.
        with backward():
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    # One pass that keeps nothing; NaN comes through it as well.
    if not all(value.isfinite() for value in torch.aminmax(gradient)):
        raise ConvlensError(f"the gradient of {model.name} to the image is not finite")
    signs = gradient.sign()
    if criterion.sign < 0:
        signs = signs.neg_()
    return Slope(raw.detach(), classes, origins, losses.detach(), signs)


def exact(images: Tensor) -> Tensor:
    """Images in which a pixel can be changed by epsilon: half precision becomes float32."""
    images = images.detach()
    return images.float() if images.dtype in (torch.float16, torch.bfloat16) else images


def _classes(model: Model, classes: Classes, count: int, known: int, least: int) -> Tensor:
    """int64 `(N,)`, of `least` to `known` - 1."""
    if isinstance(classes, Tensor):
        if classes.shape != (count,):
            raise ConvlensError(f"classes of shape {tuple(classes.shape)} for {count} images")
        if bool((classes < least).any() or (classes >= known).any()):
            raise ConvlensError(f"a class outside {least} to {known - 1}")
        return classes.long()
    return torch.full((count,), find_prediction(model.labels, classes, known))
