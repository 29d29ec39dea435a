"""What an attack changes: the class of each image, and the loss that it increases or decreases.

The loss E(x, t) is the cross-entropy of class t or the margin, the highest other logit minus the
logit of t. Where a network is so confident that its probabilities are exactly 0 and 1, the
cross-entropy has no gradient and the margin still has one.

For a network that ends in a sigmoid the cross-entropy is the binary one of class t alone, which
decreases as the logit of t increases; the prediction is the highest logit, as always. A network
with one output predicts class 0 or "not class 0": t is one of these two, the other logit of the
margin is 0, and the prediction changes with the sign of the logit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.analyses.predictions.predictions import check_logits
from convlens.capture.gradients import convert_gradient_errors
from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.labels import find_prediction
from convlens.models.model import Model
from convlens.models.output_head import (
    cross_entropy,
    lowest_prediction,
    misclassification_margin,
    predicted_classes,
)
from convlens.runtime.extrema import extrema
from convlens.runtime.guard import preserve_network
from convlens.tracing.image_parts import image_parts
from convlens.tracing.trace import Trace

LOSSES = ("cross-entropy", "margin")

ClassIndices = Tensor | str | int


@dataclass(frozen=True)
class AttackCriterion:
    """The classes that an attack moves away from or towards, and its loss.

    At most one of `classes`, `labels` and `target` is given. Without any of them, an attack moves
    away from the network's own prediction.

    Attributes:
        classes: class t to move away from, one for all images or int64 `(N,)`. For a network with
            one output -1 is "not class 0".
        labels: for each image its right class, which the attack moves away from, or None where it
            is not known; there t is the network's prediction.
        target: class t to move towards, one for all images or int64 `(N,)`.
        loss: the name of E, one of `LOSSES`.

    Raises:
        ConvlensError: if the loss is another one, or more than one of classes, labels and target
            is given.
    """

    classes: ClassIndices | None = None
    labels: Sequence[int | None] | None = None
    target: ClassIndices | None = None
    loss: str = "cross-entropy"

    def __post_init__(self) -> None:
        check_loss(self.loss)
        if sum(option is not None for option in (self.classes, self.labels, self.target)) > 1:
            raise ConvlensError(
                "more than one of classes, labels and target is given; give one, because an attack "
                "moves away from a class or towards one"
            )

    @property
    def sign(self) -> int:
        """+1 where the attack increases E, -1 where it decreases E (towards a target)."""
        return 1 if self.target is None else -1

    def of_images(self, part: slice) -> "AttackCriterion":
        """The criterion for some of the images."""
        classes, target = (
            each[part] if isinstance(each, Tensor) else each for each in (self.classes, self.target)
        )
        labels = None if self.labels is None else self.labels[part]
        return replace(self, classes=classes, labels=labels, target=target)

    def is_for(self, count: int) -> bool:
        """Whether there are as many classes or labels as images; others are refused later."""
        tensors = [each for each in (self.classes, self.target) if isinstance(each, Tensor)]
        return all(each.shape == (count,) for each in tensors) and (
            self.labels is None or len(self.labels) == count
        )

    def choose_classes(
        self, model: Model, logits: Tensor, output_head: str
    ) -> tuple[Tensor, tuple[str, ...]]:
        """Choose class t of each image.

        Args:
            model: the attacked model.
            logits: `(N, classes)`.
            output_head: "softmax" or "sigmoid", by which the logits are read.

        Returns:
            Class t, int64 `(N,)`, and for each image where it comes from: "prediction", "label",
            "given" (by `classes`) or "target".

        Raises:
            ConvlensError: if a class does not exist, or there is not one for each image.
        """
        count, classes = logits.shape
        lowest = lowest_prediction(classes, output_head)
        if classes < 2 and lowest == 0:
            raise ConvlensError(
                f"{model.name} has one class, which no attack can change; give a network with two "
                f"or more"
            )
        predictions = predicted_classes(logits, output_head)
        if self.labels is not None:
            return self._labels_or_predictions(predictions, classes, lowest)
        if self.target is not None:
            indices = _class_indices(model, self.target, count, classes, lowest)
            return _as_own(indices, predictions), ("target",) * count
        if self.classes is not None:
            indices = _class_indices(model, self.classes, count, classes, lowest)
            return _as_own(indices, predictions), ("given",) * count
        return predictions, ("prediction",) * count

    def _labels_or_predictions(
        self, predictions: Tensor, classes: int, lowest: int
    ) -> tuple[Tensor, tuple[str, ...]]:
        assert self.labels is not None
        if len(self.labels) != len(predictions):
            raise ConvlensError(
                f"{len(self.labels)} labels for {len(predictions)} images; give one label per image"
            )
        labels = [None if label is None else int(label) for label in self.labels]
        if any(label is not None and not lowest <= label < classes for label in labels):
            raise ConvlensError(
                f"a label outside {lowest} to {classes - 1}; give class indices in this range"
            )
        origins = tuple("prediction" if label is None else "label" for label in labels)
        unknown = torch.tensor([label is None for label in labels]).to(predictions.device)
        right = torch.tensor([label or 0 for label in labels]).to(predictions)
        return torch.where(unknown, predictions, right), origins


def _as_own(indices: Tensor, predictions: Tensor) -> Tensor:
    """A copy, because autograd cannot save a tensor that the caller made in inference mode."""
    return indices.to(predictions, copy=True)


def check_loss(loss: str) -> None:
    """Raise ConvlensError if `loss` is not the name of a loss."""
    if loss not in LOSSES:
        raise ConvlensError(f"unknown loss {loss!r}; give {' or '.join(LOSSES)}")


def attack_loss(logits: Tensor, classes: Tensor, loss: str, output_head: str) -> Tensor:
    """E of each image, `(N,)`.

    Args:
        logits: `(N, classes)`.
        classes: class t of each image, int64 `(N,)`.
        loss: one of `LOSSES`.
        output_head: "softmax" or "sigmoid", by which the logits are read.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 5.0, 1.0]])
        >>> attack_loss(logits, torch.tensor([0]), "margin", "softmax")
        tensor([3.])
    """
    return (cross_entropy if loss == "cross-entropy" else misclassification_margin)(
        logits, classes, output_head
    )


@dataclass(frozen=True)
class LossGradient:
    """The loss of a batch, and the signs of its gradient to the images.

    Attributes:
        logits: `(N, classes)`, of the network's type.
        classes: class t of each image, int64 `(N,)`.
        origins: where each t comes from.
        losses: E of each image, `(N,)`.
        signs: `(N, C, H, W)` of the images' type, the direction in which the attack moves each
            pixel; 0 where the gradient is exactly 0.
    """

    logits: Tensor
    classes: Tensor
    origins: tuple[str, ...]
    losses: Tensor
    signs: Tensor


def loss_gradient(
    model: Model, trace: Trace, images: Tensor, criterion: AttackCriterion
) -> LossGradient:
    """Run the network forward and back once, for the signs of the gradient of E to the images.

    Towards a target the signs are reversed, so that moving along them decreases E. Call this
    inside `capture.enable_gradients`.

    Raises:
        ConvlensError: if the gradient is not finite, or as `AttackCriterion.choose_classes`.
    """
    parts = image_parts(trace, images) if criterion.is_for(len(images)) else []
    # Guarded to the end, because a network may recompute parts of itself in the backward pass.
    with preserve_network(model.network):
        if len(parts) < 2:
            return _loss_gradient(model, trace, images, criterion)
        gradients = [
            _loss_gradient(model, trace, images[part], criterion.of_images(part)) for part in parts
        ]
    return LossGradient(
        logits=torch.cat([each.logits for each in gradients]),
        classes=torch.cat([each.classes for each in gradients]),
        origins=tuple(origin for each in gradients for origin in each.origins),
        losses=torch.cat([each.losses for each in gradients]),
        signs=torch.cat([each.signs for each in gradients]),
    )


def _loss_gradient(
    model: Model, trace: Trace, images: Tensor, criterion: AttackCriterion
) -> LossGradient:
    # Inference tensors cannot require gradients. Others need no copy, as the network gets one.
    leaf = (images.clone() if images.is_inference() else images.detach()).requires_grad_()
    output = capture_nodes(model, trace, leaf, [trace.logits])[trace.logits]
    logits = check_logits(model, output)
    classes, origins = criterion.choose_classes(model, logits.detach(), trace.output_head)
    losses = attack_loss(logits, classes, criterion.loss, trace.output_head)
    # The sum, not the mean: an image's gradient must not depend on the size of the batch.
    with convert_gradient_errors(trace):
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    if not all(map(math.isfinite, extrema(gradient))):
        raise ConvlensError(
            f"the gradient of {model.name} to the image is not finite; look for NaN or infinity in "
            f"the network's weights"
        )
    signs = gradient.sign()
    if criterion.sign < 0:
        signs = signs.neg_()
    return LossGradient(logits.detach(), classes, origins, losses.detach(), signs)


def to_attackable(images: Tensor) -> Tensor:
    """Detach images; convert half precision to float32, in which a pixel can change by epsilon."""
    images = images.detach()
    return images.float() if images.dtype in (torch.float16, torch.bfloat16) else images


def _class_indices(
    model: Model, classes: ClassIndices, image_count: int, class_count: int, lowest: int
) -> Tensor:
    """Class indices as int64 `(N,)`, each from `lowest` to `class_count - 1`."""
    if isinstance(classes, Tensor):
        if classes.shape != (image_count,):
            raise ConvlensError(
                f"classes of shape {tuple(classes.shape)} for {image_count} images; give "
                f"({image_count},), one class per image"
            )
        if bool((classes < lowest).any() or (classes >= class_count).any()):
            raise ConvlensError(
                f"a class outside {lowest} to {class_count - 1}; give class indices in this range"
            )
        return classes.long()
    return torch.full(
        (image_count,), find_prediction(model.labels, classes, class_count), dtype=torch.int64
    )
