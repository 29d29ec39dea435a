"""Predictions: the classes that a network predicts for images, with their probabilities."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.capture.folded_networks import guard_network
from convlens.capture.nodes import capture_nodes
from convlens.drawing import Bars, bar_figure
from convlens.errors import ConvlensError
from convlens.models.labels import class_names
from convlens.models.model import ImagesLike, Model
from convlens.models.output_head import (
    SOFTMAX,
    prediction_probabilities,
    probabilities,
    top_predictions,
)
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.tracing.image_parts import even_parts, image_parts
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace_images
from convlens.wording import counted, enumerated, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_IMAGES = 8  # in a figure
_BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class Predictions(NetworkResult):
    """The logits of a batch of images, and their highest classes.

    Attributes:
        logits: float32 `(N, classes)`, before softmax or sigmoid.
        classes: int64 `(N, top)`, the classes with the highest logits, in descending order. A
            network with one output has two, class 0 and -1, which is "not class 0".
        names: the names of these classes for each image.
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
        """The probabilities of `classes`, float32 `(N, top)`."""
        return prediction_probabilities(self.logits, self.classes, self.output_head)

    def select_image(self, image: int) -> "Predictions":
        """The predictions for one image, by its number from 0."""
        at = slice(image, image + 1)
        return replace(
            self, logits=self.logits[at].clone(), classes=self.classes[at].clone(),
            names=self.names[at],
        )  # fmt: skip

    def summary(self) -> str:
        """The first classes with their probabilities, in words."""
        answers = [
            f"{names[0]} ({percent(confidence)})"
            for names, confidence in zip(self.names, self.confidences[:, 0].tolist(), strict=True)
        ]
        return f"{counted(len(answers), 'image')}: {enumerated(answers, 3)}"

    def table(self) -> Table:
        """For each image the class with the highest probability, and the second."""
        rows = []
        for image, (names, shares) in enumerate(
            zip(self.names, self.confidences.tolist(), strict=True)
        ):
            cells = [f"{name}, {percent(share)}" for name, share in zip(names, shares, strict=True)]
            rows.append([str(image), cells[0], cells[1] if len(cells) > 1 else ""])
        return Table.of(["image", "prediction", "second"], rows)

    def figure(self) -> "Figure":
        """A bar for each class that is named, for the first eight images."""
        rows = [
            Bars(
                title=f"image {image}: {names[0]}",
                names=names,
                values=shares,
                labels=[percent(share) for share in shares],
            )
            for image, (names, shares) in enumerate(
                zip(self.names[:_MOST_IMAGES], self.confidences.tolist(), strict=False)
            )
        ]
        some = f"; {len(rows)} of {len(self.names)} images" * (len(rows) < len(self.names))
        return bar_figure(rows, title=f"probabilities{some}", limits=(0, 1.15))


@keep_warnings
def predict(model: Model, images: ImagesLike, *, top: int = 5) -> Predictions:
    """Predict the classes of images with the network in evaluation mode.

    Probabilities are computed by a softmax, or by a sigmoid where the network ends in one. One
    output without either is read as a logit: class 0 is predicted above 0.

    Args:
        model: the model; left untouched.
        images: `(N, C, H, W)` inside the bounds, or photos as `Model.prepare` takes them.
        top: the number of classes to name for each image; default 5.

    Returns:
        The logits and the `top` classes of each image.

    Raises:
        ConvlensError: if the model does not take the images, or its output is not one vector of
            class scores for each image.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> predictions = convlens.predict(model, torch.rand(2, 3, 8, 8), top=3)
        >>> predictions.classes.shape, predictions.probabilities.shape
        (torch.Size([2, 3]), torch.Size([2, 4]))
    """
    images, trace = trace_images(model, images)
    logits = compute_logits(model, trace, images)
    classes = top_predictions(logits, trace.output_head, top)
    names = tuple(class_names(model.labels, row) for row in classes.tolist())
    return Predictions(logits.cpu(), classes.cpu(), names, trace.output_head)


def compute_logits(model: Model, trace: Trace, images: Tensor) -> Tensor:
    """Compute the logits of images, float32 `(N, classes)`, without gradients.

    Large images run a few at a time.

    Raises:
        ConvlensError: as `check_logits`.
    """
    parts = image_parts(trace, images)
    # Guarded once for all parts; a run of a single one is guarded anyway.
    guard: AbstractContextManager[object] = nullcontext()
    if len(parts) > 1:
        guard = guard_network(model, trace, {trace.logits})
    with guard, torch.no_grad():
        logits = [
            capture_nodes(model, trace, images[part].detach(), [trace.logits])[trace.logits]
            for part in parts
        ]
    return check_logits(model, torch.cat(logits) if len(logits) > 1 else logits[0]).float()


def compute_logits_together(
    model: Model, trace: Trace, batches: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Compute the logits of several batches of images of one size.

    Together they run faster, but not where images of a batch affect one another: there each batch
    runs alone.

    Args:
        model: the model.
        trace: its trace for images of this size.
        batches: images `(N, C, H, W)`.

    Returns:
        For each batch its logits, float32 `(N, classes)`.

    Raises:
        ConvlensError: as `check_logits`.
    """

    def run(images: Tensor) -> Tensor:
        parts = even_parts(len(images), _BATCH_SIZE)
        return torch.cat([compute_logits(model, trace, images[part]) for part in parts])

    if not trace.takes_batches:
        return tuple(map(run, batches))
    return run(torch.cat(list(batches))).split([len(images) for images in batches])


def check_logits(model: Model, logits: Tensor) -> Tensor:
    """Return the network's output as `(N, classes)`, if it is one vector for each image.

    Raises:
        ConvlensError: if it is not, or holds NaN.
    """
    if logits.ndim > 2 and logits.shape[2:].numel() == 1:
        logits = logits.flatten(1)  # maps with one position
    if not logits.is_floating_point():
        kind = str(logits.dtype).removeprefix("torch.")
        raise ConvlensError(
            f"{model.name} returns numbers of type {kind}; class scores have to be real numbers"
        )
    if logits.ndim != 2:
        raise ConvlensError(
            f"{model.name} gives {tuple(logits.shape[1:])} for each image, but "
            f"this analysis needs one vector of class scores"
        )
    return check_no_nan(model, logits)


def check_one_vector(model: Model, trace: Trace, analysis: str) -> None:
    """Raise ConvlensError if the network does not return one vector for each image.

    Args:
        model: the model.
        trace: its trace.
        analysis: the analysis that needs a vector, for the message.
    """
    shape = trace.shape(trace.logits)
    if len(shape) < 2 or any(side != 1 for side in shape[2:]):
        raise ConvlensError(
            f"{model.name} gives {shape[1:]} for each image, but {analysis} needs one vector of "
            f"class scores"
        )


def check_no_nan(model: Model, output: Tensor) -> Tensor:
    """Return the network's output `(N, ...)`; raise ConvlensError if it holds NaN."""
    if bool(output.isnan().any()):
        raise ConvlensError(
            f"{model.name} gives NaN for {int(output.isnan().flatten(1).any(1).sum())} of "
            f"{len(output)} images; look for NaN in its weights"
        )
    return output
