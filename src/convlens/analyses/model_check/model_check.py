"""`check`: whether a network is fed correctly, is intact, and keeps limits; for CI."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.analyses.error_analysis.dataset_pass import error_analysis
from convlens.analyses.error_analysis.photo_selection import (
    list_selected,
    read_images,
    select_photos,
)
from convlens.analyses.error_analysis.reducer import LARGEST_CONFUSION
from convlens.analyses.error_analysis.result import ErrorAnalysis
from convlens.analyses.model_check.label_order import (
    LABEL_ORDER,
    check_label_order,
    find_better_order,
)
from convlens.analyses.model_check.network_findings import (
    check_dead_channels,
    check_finite_weights,
    check_trained_weights,
)
from convlens.analyses.model_check.prediction_findings import check_agreement, check_predictions
from convlens.analyses.model_check.preprocessing_findings import check_configured_preprocessing
from convlens.analyses.model_check.result import (
    BROKEN,
    CANNOT_TELL,
    FINE,
    CheckFinding,
    ModelCheck,
)
from convlens.analyses.model_check.thresholds import CheckThresholds
from convlens.analyses.predictions.photo_labels import check_photo_labels
from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.data.sampling import spread
from convlens.errors import ConvlensError, PhotoError
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model, check_model
from convlens.passes.options import PassOptions
from convlens.passes.source import PhotosOrImages, check_photos, open_source
from convlens.results.network_result import keep_warnings

_EXAMINED = 64  # photos for the preprocessing, the channels and the agreement, at most
_CLOSE = 0.1  # difference of two accuracies, on all photos and on those that are examined
_BLACK = 0.05  # greatest value of a nearly black image, as a share of the span


@keep_warnings
def check(
    model: Model,
    photos: PhotosOrImages,
    labels: PhotoLabels | None = None,
    *,
    thresholds: CheckThresholds = CheckThresholds(),
    against: Model | None = None,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> ModelCheck:
    """Check that a network is intact, fed correctly, and keeps limits.

    Without labels: finite and trained weights, images that are not nearly black, dead channels, the
    preprocessing. With labels also their order, and the limits on accuracy and calibration that
    are given. Preprocessing, channels and agreement are examined on at most 64 photos, evenly
    spread; predictions on all. Weights that are not finite end the check.

    Args:
        model: the model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds.
        labels: for each photo the indices of the classes that are right, or None. Default: no
            labels.
        thresholds: the limits. Default: at most half of a layer's channels dead, 99 % agreement.
        against: the same network in another format, whose predictions are compared. Default: none.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the pass over all photos runs; see `PassOptions`. The stages are
            `preprocessing`, `photos` and `crops`. Default: `PassOptions()`.

    Returns:
        A finding for each check.

    Raises:
        ConvlensError: limits that need labels without labels, labels that do not fit, or a network
            that cannot be run on the photos.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> result = convlens.check(model, torch.rand(4, 3, 8, 8))
        >>> result["finite weights"].status, [finding.name for finding in result.broken]
        ('fine', ['trained weights'])
    """
    check_model(model)
    if labels is None and thresholds.need_labels:
        raise ConvlensError(
            f"a limit on {thresholds.need_labels[0]} needs labels; give the right classes of photos"
        )
    photos = check_photos(model, photos)
    count = len(open_source(model, photos, strict=strict))
    if labels is not None:
        check_photo_labels(model, labels, count)
        if not any(labels):
            raise ConvlensError("none of the photos has a label; give labels for some, or none")
    findings = [check_finite_weights(model)]
    if findings[0].status == BROKEN:
        return ModelCheck(model.name, 0, (), tuple(findings))
    errors = order = counts = None
    if labels is not None:
        errors = error_analysis(
            model, photos, labels, examine=0, show=0, strict=strict, pass_options=pass_options
        )
        counts = _count_pairs(errors)
        order = _check_order(model, errors, counts)
    numbers, skipped = _find_readable(model, photos, labels, strict=strict)
    sample = _Sample(
        select_photos(model, photos, numbers),
        None if labels is None else [labels[number] for number in numbers],
    )
    diagnosis, order = _diagnose_preprocessing(model, sample, order, counts, pass_options)
    findings += [
        check_trained_weights(model),
        _check_brightness(read_images(model, sample.photos), model),
        check_configured_preprocessing(model, diagnosis),
        check_dead_channels(model, sample.photos, thresholds.dead_channels, pass_options.progress),
    ]
    if against is not None:
        findings.append(check_agreement(model, against, sample.photos, thresholds.agreement))
    if errors is not None and order is not None:
        findings += [order, *check_predictions(errors, thresholds)]
    return ModelCheck(
        model=model.name,
        images=len(numbers) if errors is None else errors.images,
        skipped=skipped if errors is None else errors.skipped,
        findings=tuple(findings),
    )


def _diagnose_preprocessing(
    model: Model,
    sample: "_Sample",
    order: CheckFinding | None,
    counts: Tensor | None,
    pass_options: PassOptions,
) -> tuple[Diagnosis, CheckFinding | None]:
    """The check of the preprocessing, and the finding on the order of the labels in its light.

    A wrong preprocessing and labels in a wrong order can be taken for each other.
    """
    diagnosis = sample.diagnose(model, pass_options)
    if order is None or order.status != BROKEN:
        return diagnosis, order
    if _explains(diagnosis, order):
        words = (
            f"{order.sentence}; another preprocessing makes about as many right, so correct the "
            f"preprocessing first"
        )
        return diagnosis, replace(order, status=CANNOT_TELL, sentence=words)
    # Labels in a wrong order say nothing about the preprocessing.
    return sample.reorder(model, counts).diagnose(model, pass_options), order


@dataclass(frozen=True)
class _Sample:
    """Some of the photos, with their labels.

    Attributes:
        photos: the photos, or images.
        labels: the right classes of each; None without labels.
    """

    photos: PhotoDataset | Tensor
    labels: PhotoLabels | None

    def reorder(self, model: Model, counts: Tensor | None) -> "_Sample":
        """The same photos with their labels in the order in which most photos are right.

        Args:
            model: the model, whose class names tell orders.
            counts: photos by label and prediction; None if they were not counted.
        """
        order = None if counts is None else find_better_order(counts, model.labels)
        if self.labels is None or order is None:
            return self
        classes = order.classes.tolist()
        labels = [
            None if label is None else tuple(classes[index] for index in label)
            for label in self.labels
        ]
        return replace(self, labels=labels)

    def diagnose(self, model: Model, pass_options: PassOptions) -> Diagnosis:
        """Check the preprocessing on these photos."""
        return check_preprocessing(
            model, list_selected(self.photos), labels=self.labels,
            progress=lambda done, total: pass_options.progress("preprocessing", done, total),
        )  # fmt: skip


def _explains(diagnosis: Diagnosis, order: CheckFinding) -> bool:
    """Whether another preprocessing makes about as many photos right as another order of labels.

    Where color decides between classes, reversed channels look like exchanged labels.
    """
    accuracy = diagnosis.better.accuracy if diagnosis.better is not None else None
    return accuracy is not None and order.limit is not None and accuracy > order.limit - _CLOSE


def _find_readable(
    model: Model, photos: PhotosOrImages, labels: PhotoLabels | None, *, strict: bool
) -> tuple[list[int], tuple[str, ...]]:
    """Numbers of photos that can be read, evenly spread, and the reasons for those that cannot."""
    source = open_source(model, photos, strict=strict)
    candidates = [number for number in range(len(source)) if labels is None or labels[number]]
    spans = [(number, number + 1) for number in spread(candidates, _EXAMINED)]
    numbers: list[int] = []
    skipped: dict[int, str] = {}
    for batch in source.batches(spans):
        numbers += batch.ids.tolist()
        skipped |= batch.skipped
    if skipped and strict:
        raise PhotoError(next(iter(skipped.values())))
    if not numbers:
        raise PhotoError(f"none of {len(source)} photos can be read; the first: "
                         f"{next(iter(skipped.values()))}")  # fmt: skip
    return numbers, tuple(skipped.values())


def _check_brightness(images: Tensor, model: Model) -> CheckFinding:
    """Whether images are nearly black, as those of 16-bit files that hold 8-bit values are."""
    greatest = (images.flatten(1).amax(dim=1) - model.bounds[0]) / model.span
    dark = int((greatest < _BLACK).sum())
    words = f"{dark} of {len(images):,} images are nearly black"
    if 2 * dark > len(images):
        words += "; 16-bit files that hold 8-bit values look like this"
        return CheckFinding("brightness", BROKEN, words, dark / len(images), 0.5)
    return CheckFinding("brightness", FINE, words, dark / len(images), 0.5)


def _count_pairs(errors: ErrorAnalysis) -> Tensor | None:
    """Photos by label (rows) and prediction (columns), int64 `(K, K)`; None for many classes."""
    if errors.confusion is None:
        return None
    return errors.confusion.long() + torch.diag(errors.class_right)


def _check_order(model: Model, errors: ErrorAnalysis, counts: Tensor | None) -> CheckFinding:
    """The finding about the order of the labels."""
    if counts is None:
        return CheckFinding(
            LABEL_ORDER, CANNOT_TELL,
            f"pairs of {len(errors.classes):,} classes are not counted, at most "
            f"{LARGEST_CONFUSION:,} are",
        )  # fmt: skip
    return check_label_order(counts, model.labels)
