"""Answers: what the network says about images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.labels import class_name
from convlens.model import Model
from convlens.probe import observe
from convlens.results import Result
from convlens.tracing import Trace, trace


@dataclass(frozen=True, eq=False)
class Answers(Result):
    """Class scores for a batch of images.

    Attributes:
        logits: float32 `(N, classes)`, before any softmax.
        classes: int64 `(N, top)`, the highest-scoring first.
        names: of those classes, by image.
    """

    logits: Tensor
    classes: Tensor
    names: tuple[tuple[str, ...], ...]

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, float32 `(N, classes)`."""
        return self.logits.softmax(dim=1)

    @property
    def confidences(self) -> Tensor:
        """Probabilities of the top classes, float32 `(N, top)`."""
        return self.probabilities.gather(1, self.classes)


def answers(model: Model, images: Tensor, *, top: int = 5) -> Answers:
    """What the network answers, in evaluation mode.

    Args:
        model: the model.
        images: `(N, C, H, W)` inside the bounds.
        top: how many classes to name for each image.

    Raises:
        ConvlensError: images that the model does not take, or an output that is not one vector
            of class scores for each image.
    """
    logits = class_scores(model, trace(model, images), images)
    classes = logits.topk(min(top, logits.shape[1]), dim=1).indices
    names = tuple(
        tuple(class_name(model.labels, index) for index in row) for row in classes.tolist()
    )
    return Answers(logits.cpu(), classes.cpu(), names)


def class_scores(model: Model, found: Trace, images: Tensor) -> Tensor:
    """Logits `(N, classes)` in float32, without gradients."""
    with torch.no_grad():
        logits = observe(model, found, images.detach(), [found.logits])[found.logits]
    return as_scores(model, logits).float()


def as_scores(model: Model, logits: Tensor) -> Tensor:
    """The network's output, if it is one vector of class scores for each image."""
    if logits.ndim > 2 and logits.shape[2:].numel() == 1:
        logits = logits.flatten(1)  # a softmax over maps of one cell
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ConvlensError(
            f"{model.name} gives {tuple(logits.shape[1:])} for each image; "
            f"this needs one vector of class scores"
        )
    return without_nan(model, logits)


def check_vector(model: Model, found: Trace, what: str) -> None:
    """Raise ConvlensError where the network does not give one vector for each image."""
    shape = found.shape(found.logits)
    if len(shape) < 2 or any(side != 1 for side in shape[2:]):
        raise ConvlensError(
            f"{model.name} gives {shape[1:]} for each image; {what} needs one vector of class "
            f"scores"
        )


def without_nan(model: Model, output: Tensor) -> Tensor:
    """The network's output `(N, ...)`, if no number of it is missing."""
    if bool(output.isnan().any()):
        raise ConvlensError(
            f"{model.name} gives NaN for {int(output.isnan().flatten(1).any(1).sum())} of "
            f"{len(output)} images; look for NaN in its weights"
        )
    return output
