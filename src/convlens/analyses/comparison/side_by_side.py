"""Filters, Grad-CAM, robustness and shift of two networks on the same photos."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.analyses.attacks.dataset_pass import robustness
from convlens.analyses.attacks.robustness import Robustness
from convlens.analyses.comparison.answers import AnswerChanges, AnswerPair
from convlens.analyses.comparison.photo_sample import PhotoSample, read_sample
from convlens.analyses.filters.filters import Filters
from convlens.analyses.filters.filters import filters as read_filters
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.shift.dataset_pass import shift
from convlens.analyses.shift.shift import Shift
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.passes.source import PhotosOrImages

EPSILONS = ("1/255", "4/255")
STEPS = 5  # of PGD

_PHOTOS = 4  # with Grad-CAM
_KINDS = ("lost", "gained", "changed", "same")  # of answers, those first that are explained first


def filters_of_both(first: Model, second: Model) -> tuple[Filters, Filters]:
    """The filters of the first convolution of both networks."""
    return read_filters(first), read_filters(second)


def explained_pairs(answers: AnswerChanges) -> tuple[AnswerPair, ...]:
    """The photos that Grad-CAM explains: lost answers first, then gained and changed ones."""
    pairs = [pair for kind in _KINDS for pair in answers.of_kind(kind)]
    return tuple(pairs[:_PHOTOS])


def gradcam_of_both(
    first: Model, second: Model, photos: PhotosOrImages, pairs: Sequence[AnswerPair]
) -> tuple[GradCam, GradCam]:
    """Grad-CAM of each network's own answer for some photos."""
    sample = read_sample(first, second, photos, [pair.number for pair in pairs])
    classes = [
        torch.tensor([[max(0, own)] for own in answered], dtype=torch.int64)
        for answered in (
            [pair.first_class for pair in pairs], [pair.second_class for pair in pairs],
        )
    ]  # fmt: skip
    return (
        gradcam(first, sample.first, classes=classes[0]),
        gradcam(second, sample.second, classes=classes[1]),
    )


def robustness_of_both(
    first: Model, second: Model, sample: PhotoSample, labels: PhotoLabels | None,
    second_labels: PhotoLabels | None, seed: int,
) -> tuple[Robustness, Robustness]:  # fmt: skip
    """Accuracy against epsilon of both networks on a sample."""
    return (
        robustness(first, sample.first, EPSILONS, labels=labels, pgd_steps=STEPS, seed=seed),
        robustness(
            second, sample.second, EPSILONS, labels=second_labels, pgd_steps=STEPS, seed=seed
        ),
    )


def shift_of_both(
    first: Model, second: Model, photos: PhotosOrImages, sample: PhotoSample, seed: int
) -> tuple[Shift, Shift]:
    """Equivariance of layers and consistency of predictions of both networks."""
    results = []
    for model, images in ((first, sample.first), (second, sample.second)):
        chosen: PhotosOrImages = images
        if not isinstance(photos, Tensor) and isinstance(photos, Sequence):
            chosen = [photos[number] for number in sample.numbers]  # wider than the images
        results.append(shift(model, chosen, shifts=[1], every=0, seed=seed))
    return results[0], results[1]
