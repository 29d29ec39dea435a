"""Answers: what the network says about images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.capture import observe
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.models.output_head import (
    SOFTMAX,
    prediction_probabilities,
    probabilities,
    top_predictions,
)
from convlens.results import Result
from convlens.tracing.trace import Trace, trace


@dataclass(frozen=True, eq=False)
class Predictions(Result):
    """Class scores for a batch of images.

    Attributes:
        logits: float32 `(N, classes)`, before any softmax or sigmoid.
        classes: int64 `(N, top)`, the highest-scoring first. A network with one output has two
            answers, class 0 and -1, which is not class 0.
        names: of those classes, by image.
        output_head: "softmax", or "sigmoid" where each class has a probability by itself.
    """

    logits: Tensor
    classes: Tensor
    names: tuple[tuple[str, ...], ...]
    output_head: str = SOFTMAX

    @property
    def probabilities(self) -> Tensor:
        """Softmax or sigmoid of the logits, float32 `(N, classes)`."""
        return probabilities(self.logits, self.output_head)

    @property
    def confidences(self) -> Tensor:
        """Probabilities of the top classes, float32 `(N, top)`."""
        return prediction_probabilities(self.logits, self.classes, self.output_head)


def predict(model: Model, images: Tensor, *, top: int = 5) -> Predictions:
    """What the network answers, in evaluation mode.

    Probabilities are by a softmax, or by a sigmoid where the network ends in one. One output
    without either is read as a logit: the class is there above 0.

    Args:
        model: the model.
        images: `(N, C, H, W)` inside the bounds.
        top: how many classes to name for each image.

    Raises:
        ConvlensError: images that the model does not take, or an output that is not one vector
            of class scores for each image.
    """
    found = trace(model, images)
    logits = compute_logits(model, found, images)
    classes = top_predictions(logits, found.output_head, top)
    names = tuple(
        tuple(class_name(model.labels, index) for index in row) for row in classes.tolist()
    )
    return Predictions(logits.cpu(), classes.cpu(), names, found.output_head)


def compute_logits(model: Model, found: Trace, images: Tensor) -> Tensor:
    """Logits `(N, classes)` in float32, without gradients."""
    with torch.no_grad():
        logits = observe(model, found, images.detach(), [found.logits])[found.logits]
    return check_logits(model, logits).float()


def check_logits(model: Model, logits: Tensor) -> Tensor:
    """The network's output, if it is one vector of class scores for each image.

    Raises:
        ConvlensError: it is not, or holds NaN.
    """
    if logits.ndim > 2 and logits.shape[2:].numel() == 1:
        logits = logits.flatten(1)  # a link over maps of one cell
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ConvlensError(
            f"{model.name} gives {tuple(logits.shape[1:])} for each image; "
            f"this needs one vector of class scores"
        )
    return check_no_nan(model, logits)


def check_one_vector(model: Model, found: Trace, what: str) -> None:
    """Raise ConvlensError where the network does not give one vector for each image."""
    shape = found.shape(found.logits)
    if len(shape) < 2 or any(side != 1 for side in shape[2:]):
        raise ConvlensError(
            f"{model.name} gives {shape[1:]} for each image; {what} needs one vector of class "
            f"scores"
        )


def check_no_nan(model: Model, output: Tensor) -> Tensor:
    """The network's output `(N, ...)`, if no number of it is missing."""
    if bool(output.isnan().any()):
        raise ConvlensError(
            f"{model.name} gives NaN for {int(output.isnan().flatten(1).any(1).sum())} of "
            f"{len(output)} images; look for NaN in its weights"
        )
    return output
