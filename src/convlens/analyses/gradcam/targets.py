"""Targets: the numbers of a network's output that a Grad-CAM explains.

For a vector of class scores the number is the logit of a class, or the logit of one class minus
that of another. For an output that holds a score of each class at each pixel (segmentation) it is
the mean logit of a class over the pixels that are predicted as this class. Seg-Grad-CAM
(Vinogradova et al. 2020) takes their sum instead, so that its maps grow with the object. Any other
number is given as a function of the output.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.gradcam.options import ClassSelection, GradCamOptions, TargetFunction
from convlens.analyses.predictions.predictions import check_logits, check_no_nan
from convlens.errors import ConvlensError
from convlens.models.labels import class_name, find_class_pair
from convlens.models.model import Model
from convlens.models.output_head import SIGMOID, predicted_classes, probabilities

NO_CLASS = -1


@dataclass(frozen=True)
class ExplanationTarget:
    """What is explained of the output of one batch: K weighted sums for each image.

    Attributes:
        outputs: `(N, ...)`, with its graph.
        directions: `(K, N, ...)`, the weights of the K sums over `outputs`.
        classes: int64 `(N, K)`; -1 for a function of the output.
        subtracted: int64 `(N, K)`, the class whose logit is subtracted, or -1.
        names: names of the targets, by image.
        scores: float32 `(N, K)`, the sums.
        probabilities: float32 `(N, K)`; NaN for a function of the output.
    """

    outputs: Tensor
    directions: Tensor
    classes: Tensor
    subtracted: Tensor
    names: tuple[tuple[str, ...], ...]
    scores: Tensor
    probabilities: Tensor


def resolve_target(
    model: Model, output: Tensor, options: GradCamOptions, *, image_count: int, output_head: str
) -> ExplanationTarget:
    """Find what the options ask to explain in the output of a batch.

    Args:
        model: the model that gave the output.
        output: `(N, classes)` or `(N, classes, H, W)` with its graph, before any softmax or
            sigmoid; for a target function as the network returns it.
        options: classes, or how many of the highest; a pixel; or a target function.
        image_count: number of images N.
        output_head: `SOFTMAX` or `SIGMOID`, by which logits become probabilities.

    Raises:
        ConvlensError: the options do not fit the output.
    """
    if options.target is not None:
        return _function_target(check_no_nan(model, output), options.target, image_count)
    if output.ndim == 4 and output.shape[2:].numel() > 1 and output.is_floating_point():
        output = check_no_nan(model, output)
        if options.pixel is None:
            return _segmentation_target(model, output, options, output_head)
        output = _scores_at_pixel(output, options.pixel)
    elif options.pixel is not None:
        raise ConvlensError(
            f"a pixel is given, but {model.name} returns {tuple(output.shape[1:])} for each image: "
            f"one answer, not one for each pixel; leave the pixel out"
        )
    return _class_target(model, check_logits(model, output), options, output_head)


def difference_name(model: Model, index: int, subtracted: int) -> str:
    """The name of a class, or `A - B`."""
    name = class_name(model.labels, index)
    return name if subtracted == NO_CLASS else f"{name} - {class_name(model.labels, subtracted)}"


def _scores_at_pixel(output: Tensor, pixel: tuple[int, int]) -> Tensor:
    """Scores `(N, classes)` at one pixel of `(N, classes, H, W)`."""
    height, width = output.shape[2:]
    y, x = pixel
    if not (0 <= y < height and 0 <= x < width):
        raise ConvlensError(
            f"no pixel {y},{x} of an output of {height} x {width}; give 0,0 to "
            f"{height - 1},{width - 1}"
        )
    return output[:, :, y, x]


def _class_target(
    model: Model, logits: Tensor, options: GradCamOptions, output_head: str
) -> ExplanationTarget:
    """Logits `(N, classes)` of classes, or differences of two.

    The probability of the first class of a difference, where only these two are possible, is the
    sigmoid of the difference under a softmax and under a sigmoid.
    """
    detached = logits.detach()
    if options.classes is None:
        _check_top(options.top, logits.shape[1])
        classes = detached.topk(options.top, dim=1).indices
        subtracted = torch.full_like(classes, NO_CLASS)
    else:
        classes, subtracted = _select_classes(model, logits, options.classes)
    is_difference = subtracted != NO_CLASS
    directions = torch.zeros(classes.shape[1], *logits.shape).to(detached)
    directions.scatter_(2, classes.T.unsqueeze(2), 1)
    minus = torch.zeros_like(directions)
    minus.scatter_(2, subtracted.clamp(min=0).T.unsqueeze(2), 1)
    directions -= minus * is_difference.T.unsqueeze(2)
    values = detached.float()
    scores = (
        values.gather(1, classes) - values.gather(1, subtracted.clamp(min=0)) * is_difference
    )  # fmt: skip
    probability = probabilities(values, output_head).gather(1, classes)
    probability = probability.where(~is_difference, scores.sigmoid())
    return _named_target(model, logits, directions, classes, subtracted, scores, probability)


def _segmentation_target(
    model: Model, logits: Tensor, options: GradCamOptions, output_head: str
) -> ExplanationTarget:
    """Mean logits of classes over the pixels predicted as them, from `(N, classes, H, W)`.

    Under a sigmoid a pixel is predicted as every class whose logit is above 0, which may be
    several or none.
    """
    detached = logits.detach().float()
    image_count, class_count = detached.shape[:2]
    predicted = None if output_head == SIGMOID else predicted_classes(detached, output_head)
    if options.classes is None:
        _check_top(options.top, class_count)
        areas = torch.stack([
            (detached[:, index] > 0 if predicted is None else predicted == index).sum(dim=(1, 2))
            for index in range(class_count)
        ], dim=1)  # fmt: skip
        # Stable: of equal areas, also of no area, the first class.
        order = areas.sort(dim=1, descending=True, stable=True).indices
        classes = order[:, : options.top]
        subtracted = torch.full_like(classes, NO_CLASS)
    else:
        classes, subtracted = _select_classes(model, logits, options.classes)
    probability = probabilities(detached, output_head)
    rows = torch.arange(image_count, device=logits.device)
    mean_logits, mean_probabilities = [], []
    for index, other in zip(classes.T, subtracted.T, strict=True):
        mask = detached[rows, index] > 0 if predicted is None else predicted == index.view(-1, 1, 1)
        area = mask.sum(dim=(1, 2)).clamp(min=1)
        is_difference = (other != NO_CLASS).view(-1, 1, 1)
        difference = logits[rows, index] - logits[rows, other.clamp(min=0)] * is_difference
        mean_logits.append((difference * mask).sum(dim=(1, 2)) / area)
        at_pixels = probability[rows, index].where(
            ~is_difference, difference.detach().float().sigmoid()
        )
        mean_probabilities.append((at_pixels * mask).sum(dim=(1, 2)) / area)
    outputs = torch.stack(mean_logits, dim=1)
    return _named_target(
        model, outputs, _one_per_column(outputs), classes, subtracted, outputs.detach().float(),
        torch.stack(mean_probabilities, dim=1),
    )  # fmt: skip


def _function_target(
    output: Tensor, function: TargetFunction, image_count: int
) -> ExplanationTarget:
    """What a user's function makes of the output."""
    sums = function(output)
    if not isinstance(sums, Tensor) or not sums.is_floating_point():
        kind = f"type {sums.dtype}" if isinstance(sums, Tensor) else type(sums).__name__
        raise ConvlensError(
            f"the target gives {kind}; a tensor of floating-point numbers is needed"
        )
    if sums.ndim not in (1, 2) or len(sums) != image_count or 0 in sums.shape:
        raise ConvlensError(
            f"the target gives {tuple(sums.shape)} for {image_count} images; give "
            f"({image_count},), or ({image_count}, K) for several at once"
        )
    if output.requires_grad and not sums.requires_grad:
        raise ConvlensError(
            "the target gives numbers without a gradient; compute them by torch from the output "
            "that it is given, without detach or item"
        )
    sums = sums.view(image_count, -1)
    scores = sums.detach().float()
    if not bool(scores.isfinite().all()):
        raise ConvlensError(
            "the target gives NaN or infinity; change the function or look for NaN in the network"
        )
    no_classes = torch.full(sums.shape, NO_CLASS, dtype=torch.int64)
    count = sums.shape[1]
    names = tuple(f"target {rank}" for rank in range(1, count + 1)) if count > 1 else ("target",)
    return ExplanationTarget(
        outputs=sums,
        directions=_one_per_column(sums),
        classes=no_classes,
        subtracted=no_classes.clone(),
        names=(names,) * len(sums),
        scores=scores,
        probabilities=torch.full_like(scores, torch.nan),
    )


def _one_per_column(sums: Tensor) -> Tensor:
    """Directions `(K, N, K)` that select each of the K columns of `sums` `(N, K)`."""
    image_count, column_count = sums.shape
    return torch.eye(column_count).to(sums.detach())[:, None].expand(-1, image_count, -1)


def _named_target(
    model: Model,
    outputs: Tensor,
    directions: Tensor,
    classes: Tensor,
    subtracted: Tensor,
    scores: Tensor,
    probability: Tensor,
) -> ExplanationTarget:
    names = tuple(
        tuple(difference_name(model, index, other) for index, other in zip(*row, strict=True))
        for row in zip(classes.tolist(), subtracted.tolist(), strict=True)
    )
    return ExplanationTarget(
        outputs, directions, classes, subtracted, names, scores, probability
    )  # fmt: skip


def _check_top(top: int, class_count: int) -> None:
    if not 1 <= top <= class_count:
        raise ConvlensError(f"top {top} of {class_count} classes; give 1 to {class_count}")


def _select_classes(
    model: Model, logits: Tensor, selection: ClassSelection
) -> tuple[Tensor, Tensor]:
    """The classes that are asked for and what is subtracted, int64 `(N, K)` each."""
    image_count, class_count = logits.shape[:2]
    if isinstance(selection, Tensor):
        return _check_classes(selection, image_count, class_count, logits.device)
    requested = [selection] if isinstance(selection, (str, int)) else list(selection)
    if not requested:
        raise ConvlensError(
            "the list of classes is empty; give at least one class, or None for the highest"
        )
    pairs = [find_class_pair(model.labels, text, class_count) for text in requested]
    row = torch.tensor([
        [index, NO_CLASS if other is None else other] for index, other in pairs
    ], dtype=torch.int64)  # fmt: skip
    classes, subtracted = row.to(logits.device).T
    return classes.expand(image_count, -1), subtracted.expand(image_count, -1)


def _check_classes(
    selection: Tensor, image_count: int, class_count: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Classes that are given as a tensor `(N, K)`, or with what is subtracted `(N, K, 2)`."""
    if (
        selection.ndim not in (2, 3)
        or len(selection) != image_count
        or selection.shape[2:] not in ((), (2,))
    ):
        raise ConvlensError(
            f"classes of shape {tuple(selection.shape)} for {image_count} images; give "
            f"({image_count}, K), or ({image_count}, K, 2) for differences"
        )
    selected = selection.long().to(device)
    classes = selected if selected.ndim == 2 else selected[..., 0]
    subtracted = (
        torch.full_like(selected, NO_CLASS) if selected.ndim == 2 else selected[..., 1]
    )  # fmt: skip
    out_of_range = (classes < 0) | (classes >= class_count) | (subtracted >= class_count)
    if bool(out_of_range.any()):
        raise ConvlensError(
            f"a class outside 0 to {class_count - 1}; give class indices in this range"
        )
    return classes, subtracted.clamp(min=NO_CLASS)
