"""Filters, Grad-CAM, robustness and shift of two networks on the same photos."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convlens.analyses.attacks.dataset_pass import robustness
from convlens.analyses.attacks.robustness import Robustness
from convlens.analyses.comparison.answers.result import AnswerChanges, AnswerPair
from convlens.analyses.comparison.photo_sample import PhotoSample, read_sample
from convlens.analyses.filters.filters import Filters
from convlens.analyses.filters.filters import filters as read_filters
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.shift.dataset_pass import shift
from convlens.analyses.shift.shift import Shift
from convlens.models.labels import NEGATIVE, PhotoLabels, class_name
from convlens.models.model import Model
from convlens.passes.source import PhotosOrImages

EPSILONS = ("1/255", "4/255")
STEPS = 5  # of PGD

_PHOTOS = 4  # with Grad-CAM


def filters_of_both(first: Model, second: Model) -> tuple[Filters, Filters]:
    """The filters of the first convolution of both networks."""
    return read_filters(first), read_filters(second)


def explained_pairs(answers: AnswerChanges) -> tuple[AnswerPair, ...]:
    """The photos that Grad-CAM explains: with changed answers of each kind, else with the same."""
    changed = answers.select_changed(_PHOTOS)
    return (*changed, *answers.of_kind("same"))[:_PHOTOS]


def gradcam_of_both(
    first: Model, second: Model, photos: PhotosOrImages, pairs: Sequence[AnswerPair]
) -> tuple[GradCam, GradCam]:
    """Grad-CAM of each network's own answer for some photos."""
    sample = read_sample(first, second, photos, [pair.number for pair in pairs])
    return (
        _explain_answers(
            first, sample.first, [pair.first_class for pair in pairs],
            [pair.first_probability for pair in pairs],
        ),
        _explain_answers(
            second, sample.second, [pair.second_class for pair in pairs],
            [pair.second_probability for pair in pairs],
        ),
    )  # fmt: skip


def _explain_answers(
    model: Model, images: Tensor, answers: Sequence[int], probabilities: Sequence[float]
) -> GradCam:
    """Grad-CAM of an answer for each image; "not class 0" rests on what lowers the output."""
    column = torch.tensor(answers, dtype=torch.int64)[:, None]
    if NEGATIVE not in answers:
        return gradcam(model, images, classes=column)
    sign = torch.where(column == NEGATIVE, -1.0, 1.0)
    cam = gradcam(model, images, target=lambda output: output.flatten(1) * sign.to(output))
    return replace(
        cam,
        names=tuple((class_name(model.labels, answer),) for answer in answers),
        probabilities=torch.tensor(probabilities, dtype=torch.float32)[:, None],
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
