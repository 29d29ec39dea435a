"""Findings about predictions: accuracy and calibration against limits, agreement of two formats."""

from math import ceil

from torch import Tensor

from convlens.analyses.comparison.answers.answer_work import rescale
from convlens.analyses.error_analysis.result import ErrorAnalysis
from convlens.analyses.model_check.result import BROKEN, CANNOT_TELL, FINE, CheckFinding, Status
from convlens.analyses.model_check.thresholds import CheckThresholds
from convlens.analyses.predictions.predictions import predict
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model
from convlens.passes.proportion import Proportion
from convlens.wording import counted, percent

_Z = 1.96
_LEAST_OF_CLASS = 5  # photos, before the accuracy of a class is compared
_BATCH_SIZE = 32


def check_predictions(errors: ErrorAnalysis, limits: CheckThresholds) -> list[CheckFinding]:
    """Compare accuracy and calibration with those limits that are given.

    A limit is broken where the whole 95 % interval of what was measured lies beyond it, so that few
    photos do not call a network broken that keeps it.
    """
    findings = []
    if limits.accuracy is not None:
        findings.append(_compare("accuracy", errors.accuracy, limits.accuracy))
    if limits.top5 is not None:
        # With five classes or fewer, every right class is among the first five.
        share = errors.top5 or Proportion.from_counts(errors.images, errors.images)
        findings.append(_compare("among the first five", share, limits.top5))
    if limits.class_accuracy is not None:
        findings.append(_check_classes(errors, limits.class_accuracy))
    if limits.calibration_error is not None:
        findings.append(_check_calibration(errors, limits.calibration_error))
    return findings


def check_agreement(
    model: Model, other: Model, photos: PhotoDataset | Tensor, limit: float | None
) -> CheckFinding:
    """Whether another format of the network predicts the same for photos.

    It is broken where the interval of the share lies below the limit: among few photos, a single
    one on which both classes are as probable says nothing.

    Args:
        model: the model.
        other: the other one; each prepares the photos in its own way.
        photos: photos; or images inside the bounds of `model`, which the other one is given
            rescaled to its own bounds.
        limit: least share of photos for which both predict the same; None for no limit.
    """
    equal, total, largest = 0, len(photos), 0.0
    for start in range(0, total, _BATCH_SIZE):
        numbers = range(start, min(start + _BATCH_SIZE, total))
        if isinstance(photos, Tensor):
            images = photos[start : numbers.stop]
            parts: tuple[ImagesLike, ImagesLike] = (images, rescale(images, model, other))
        else:
            part = [photos[number] for number in numbers]
            parts = (part, part)
        first, second = predict(model, parts[0], top=1), predict(other, parts[1], top=1)
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
    status, comparison = (FINE, "") if limit is None else _judge(share, limit)
    if status != FINE:
        words += f"; {comparison}"
    return CheckFinding("agreement", status, words, share.share, limit)


def _compare(name: str, share: Proportion, limit: float) -> CheckFinding:
    """A share against the least that is required."""
    status, comparison = _judge(share, limit)
    words = f"{share.summary()}; {comparison}"
    return CheckFinding(name, status, words, share.share, limit)


def _judge(share: Proportion, limit: float) -> tuple[Status, str]:
    """The status of a share by its interval and the least that is required, and why, in words."""
    required = f"at least {percent(limit, 1)} is required"
    if share.high < limit:
        return BROKEN, f"{required}: the whole interval lies below"
    if share.low >= limit:
        return FINE, f"{required}: the whole interval lies above"
    status: Status = FINE if share.share >= limit else CANNOT_TELL
    return status, f"{required}: {_photos_that_decide(share, limit)}"


def _photos_that_decide(share: Proportion, limit: float) -> str:
    """How many photos would decide whether a share is below a limit, in words."""
    distance = max(abs(share.share - limit), 1e-3)
    needed = ceil(_Z**2 * limit * (1 - limit) / distance**2)
    photos = counted(max(needed, share.total), "photo")
    return f"the limit lies inside the interval, about {photos} would decide"


def _check_classes(errors: ErrorAnalysis, limit: float) -> CheckFinding:
    counts, right = errors.class_counts.tolist(), errors.class_right.tolist()
    rows = [row for row, count in enumerate(counts) if count >= _LEAST_OF_CLASS]
    if not rows:
        return CheckFinding(
            "accuracy of each class", CANNOT_TELL,
            f"no class has {_LEAST_OF_CLASS} photos; give at least so many of each", None, limit,
        )  # fmt: skip
    shares = {row: Proportion.from_counts(right[row], counts[row]) for row in rows}
    below = [row for row in rows if shares[row].high < limit]
    # With equal shares, the class with more photos tells more.
    worst = min(below or rows, key=lambda row: (shares[row].share, shares[row].high))
    status, comparison = _judge(shares[worst], limit)
    words = (
        f"of {counted(len(rows), 'class')}, {len(below)} with the whole interval below "
        f"{percent(limit, 1)}; the least accurate is {errors.class_names[worst]} with "
        f"{shares[worst].summary()}; {comparison}"
    )
    return CheckFinding("accuracy of each class", status, words, shares[worst].share, limit)


def _check_calibration(errors: ErrorAnalysis, limit: float) -> CheckFinding:
    """Broken where the interval of the error lies above the limit.

    The estimate itself is too large where bins hold few photos.
    """
    diagram = errors.calibration.equal_width
    error = diagram.error
    status: Status = BROKEN if error.low > limit else FINE
    words = f"{diagram.summary()}; at most {percent(limit, 1)} is allowed"
    if error.low <= limit < error.estimate:
        status = CANNOT_TELL
        words += f"; {counted(errors.images, 'photo')} are too few to tell, give more"
    return CheckFinding("calibration", status, words, error.estimate, limit)
