"""Predicts photos again after changes: other views, other preprocessings, FGSM."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.analyses.attacks.fgsm import fgsm
from convlens.analyses.attacks.flip import find_flip
from convlens.analyses.error_analysis.causes import ChangedPredictions
from convlens.analyses.error_analysis.photo_selection import read_images
from convlens.analyses.error_analysis.views import make_views, with_resize
from convlens.analyses.predictions.predictions import compute_logits
from convlens.analyses.preprocessing_check.variants import list_variants
from convlens.capture.folded_networks import fold_batch_norms
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.models.output_head import predicted_classes
from convlens.tracing.tracer import trace as trace_network

_BATCH_SIZE = 32
_LEVELS = (1, 2, 4, 8)  # gray levels by which FGSM changes photos


@fold_batch_norms()
def change_predictions(
    model: Model,
    photos: PhotoDataset | Tensor,
    right: Sequence[Sequence[int]],
    *,
    of_errors: bool,
    seed: int,
) -> ChangedPredictions:
    """Predict some photos again after each change, with 25 to 40 forward passes of each photo.

    A network that FGSM cannot attack has no levels; the reason is in `attack_failure`.

    Args:
        model: the model; left untouched.
        photos: the photos, or images; none is allowed.
        right: the right classes of each.
        of_errors: the photos are predicted wrongly: FGSM moves towards the first right class, and
            other preprocessings are tried. Otherwise FGSM moves away from the prediction.
        seed: seed of FGSM's control.
    """
    if not len(photos):
        return ChangedPredictions({}, {}, [], [])
    images = read_images(model, photos)
    views: dict[str, list[tuple[str, ...]]] = {}
    counts: dict[str, int] = {}
    for view in make_views(model, photos, images):
        names = views.setdefault(view.kind, [()] * len(images))
        counts[view.kind] = counts.get(view.kind, 0) + 1
        _add_name(names, view.name, are_right(model, view.images, right))
    preprocessings: list[tuple[str, ...]] = [()] * len(images)
    variants = list_variants(model, with_resizes=not isinstance(photos, Tensor))
    for variant in variants[1:] if of_errors else ():
        changed = images
        if variant.resize != model.preprocessing.resize:
            changed = read_images(with_resize(model, variant.resize), photos)
        if variant.reverse_channels:
            changed = changed.flip(1)
        _add_name(preprocessings, variant.name, are_right(variant.model, changed, right))
    try:
        levels = _find_levels(model, images, right, of_errors=of_errors, seed=seed)
    except ConvlensError as error:  # such as a network without gradients
        return ChangedPredictions(views, counts, preprocessings, [None] * len(images), str(error))
    return ChangedPredictions(views, counts, preprocessings, levels)


def are_right(model: Model, images: Tensor, right: Sequence[Sequence[int]]) -> list[bool]:
    """Whether the prediction of each image is one of its right classes."""
    trace = trace_network(model, images)
    logits = torch.cat([compute_logits(model, trace, part) for part in images.split(_BATCH_SIZE)])
    predictions = predicted_classes(logits, trace.output_head).tolist()
    return [prediction in classes for prediction, classes in zip(predictions, right, strict=True)]


def _add_name(names: list[tuple[str, ...]], name: str, applies: Sequence[bool]) -> None:
    for photo, applies_here in enumerate(applies):
        if applies_here:
            names[photo] = (*names[photo], name)


def _find_levels(
    model: Model,
    images: Tensor,
    right: Sequence[Sequence[int]],
    *,
    of_errors: bool,
    seed: int,
) -> list[int | None]:
    """The least change by FGSM, in gray levels, that turns wrong to right or right to wrong."""
    levels: list[int | None] = []
    for start in range(0, len(images), _BATCH_SIZE):
        part, part_right = images[start : start + _BATCH_SIZE], right[start : start + _BATCH_SIZE]
        target = torch.tensor([c[0] for c in part_right], dtype=torch.int64) if of_errors else None
        attack = fgsm(model, part, target=target, score=False)
        flip = find_flip(model, attack, levels=_LEVELS, seed=seed)
        for photo, classes in enumerate(part_right):
            predictions = flip.predictions[:, photo].tolist()
            reached = [
                level
                for level, prediction in zip(flip.levels, predictions, strict=True)
                if (prediction in classes) == of_errors
            ]
            levels.append(reached[0] if reached else None)
    return levels
