"""Findings about predictions: accuracy and calibration against limits, agreement of two formats."""

from math import ceil

import torch

from convlens.analyses.error_analysis.result import ErrorAnalysis
from convlens.analyses.model_check.result import BROKEN, FINE, CheckFinding, Status
from convlens.analyses.model_check.thresholds import CheckThresholds
from convlens.analyses.predictions.predictions import predict
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.passes.proportion import Proportion
from convlens.wording import counted

_Z = 1.96
_LEAST_OF_CLASS = 5  # photos, before the accuracy of a class is compared
_BATCH_SIZE = 32


def check_predictions(errors: ErrorAnalysis, limits: CheckThresholds) -> list[CheckFinding]:
    """Compare accuracy and calibration with those limits that are given."""
    findings = []
    if limits.accuracy is not None:
        findings.append(_compare("accuracy", errors.accuracy, limits.accuracy))
    if limits.top5 is not None:
        # Of five classes or fewer, every right class is among the first five.
        share = errors.top5 or Proportion.from_counts(errors.images, errors.images)
        findings.append(_compare("among the first five", share, limits.top5))
    if limits.class_accuracy is not None:
        findings.append(_check_classes(errors, limits.class_accuracy))
    if limits.calibration_error is not None:
        findings.append(_check_calibration(errors, limits.calibration_error))
    return findings


def check_agreement(
    model: Model, other: Model, photos: PhotoDataset | torch.Tensor, limit: float
) -> CheckFinding:
    """Whether another format of the network predicts the same for photos.

    Args:
        model: the model.
        other: the other one; each prepares the photos in its own way.
        photos: photos, or images.
        limit: least share of photos for which both predict the same.
    """
    equal, total, largest = 0, len(photos), 0.0
    for start in range(0, total, _BATCH_SIZE):
        numbers = range(start, min(start + _BATCH_SIZE, total))
        part = photos[start : numbers.stop] if isinstance(photos, torch.Tensor) else [
            photos[number] for number in numbers
        ]  # fmt: skip
        first, second = (predict(each, part, top=1) for each in (model, other))
        if first.logits.shape != second.logits.shape:
            raise ConvlensError(
                f"{model.name} has {first.logits.shape[1]} outputs and {other.name} has "
                f"{second.logits.shape[1]}; give two formats of one network"
            )
        equal += int((first.classes[:, 0] == second.classes[:, 0]).sum())
        difference = (first.probabilities - second.probabilities).abs().max()
        largest = max(largest, float(difference))
    share = Proportion.from_counts(equal, total)
    words = (
        f"{other.name} predicts the same for {share.summary()} of the photos; probabilities differ "
        f"by at most {largest:.2g}"
    )
    return CheckFinding(
        "agreement", FINE if share.share >= limit else BROKEN, words, share.share, limit
    )


def _compare(name: str, share: Proportion, limit: float) -> CheckFinding:
    """A share against the least that is allowed, and whether the photos decide it."""
    status: Status = FINE if share.share >= limit else BROKEN
    words = f"{share.summary()}, at least {limit:.1%} is required"
    if share.low < limit < share.high:
        distance = max(abs(share.share - limit), 1e-3)
        needed = ceil(_Z**2 * limit * (1 - limit) / distance**2)
        photos = counted(max(needed, share.total), "photo")
        words += f"; the limit lies inside the interval, about {photos} would decide"
    return CheckFinding(name, status, words, share.share, limit)


def _check_classes(errors: ErrorAnalysis, limit: float) -> CheckFinding:
    counts, right = errors.class_counts.tolist(), errors.class_right.tolist()
    rows = [row for row, count in enumerate(counts) if count >= _LEAST_OF_CLASS]
    if not rows:
        return CheckFinding(
            "accuracy of each class", "cannot tell",
            f"no class has {_LEAST_OF_CLASS} photos; give at least so many of each", None, limit,
        )  # fmt: skip
    worst = min(rows, key=lambda row: right[row] / counts[row])
    below = sum(right[row] / counts[row] < limit for row in rows)
    share = Proportion.from_counts(right[worst], counts[worst])
    words = (
        f"{below} of {counted(len(rows), 'class')} are below {limit:.1%}; the least accurate is "
        f"{errors.class_names[worst]}: {share.summary()}"
    )
    return CheckFinding(
        "accuracy of each class", BROKEN if below else FINE, words, share.share, limit
    )


def _check_calibration(errors: ErrorAnalysis, limit: float) -> CheckFinding:
    """Broken where the interval of the error lies above the limit.

    The estimate itself is too large where bins hold few photos.
    """
    diagram = errors.calibration.equal_width
    status: Status = BROKEN if diagram.low > limit else FINE
    words = f"{diagram.summary()}; at most {limit:.1%} is allowed"
    if diagram.low <= limit < diagram.error:
        status = "cannot tell"
        words += f"; {counted(errors.images, 'photo')} are too few to tell, give more"
    return CheckFinding("calibration", status, words, diagram.error, limit)
