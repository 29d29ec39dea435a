"""Check the preprocessing of photos: would the network do better with another one?

The usual mistakes are tried on the user's own photos: another normalization, BGR, 0..255, squashing
or not resizing. A variant is better if the network gives the right class a higher probability.
Without labels, a variant is better if the network gives one and the same class a high probability
for a photo and for its mirror image, and its predictions tell the photos apart (`distinctness.py`).
A network that is merely overconfident predicts the same few classes for all photos. A network that
ends in a sigmoid predicts each class by itself: without labels, its predictions for a photo and for
the mirror image have to agree in all classes.

A network with untrained weights is named as such, because no preprocessing is right for it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convlens.analyses.predictions.photo_labels import check_photo_labels
from convlens.analyses.predictions.predictions import compute_logits_together
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.analyses.preprocessing_check.scores import (
    PhotoScores,
    score_by_confidence,
    score_by_labels,
)
from convlens.analyses.preprocessing_check.variants import list_variants, prepare_variants
from convlens.analyses.preprocessing_check.verdict import compare_variants, conclude, find_better
from convlens.analyses.weights_check.weights_check import check_weights
from convlens.capture.folded_networks import fold_batch_norms
from convlens.data.datasets.pictures import list_photos
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels
from convlens.models.model import ImagesLike, Model, check_model, tensor_to_array
from convlens.results.network_result import keep_warnings
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network

Progress = Callable[[int, int], None]


@keep_warnings
@fold_batch_norms()
def check_preprocessing(
    model: Model,
    photos: ImagesLike,
    *,
    labels: PhotoLabels | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Diagnosis:
    """Compare the configured preprocessing of photos with the usual mistakes.

    A variant is clearly better if it gains at least 0.1 nats per photo, the gain is significant at
    5 % after correction for the number of alternatives, and the right classes are then at least 0.1
    nats more probable than by guessing. Without labels, it has to gain at least
    0.3 nats, significant at 1 %, and its predictions have to tell the photos apart, with a
    distinctness of at least 0.3. The verdict on a network whose weights look untrained
    (`check_weights`) is "cannot tell".

    Args:
        model: the model; left untouched.
        photos: photos as `Model.prepare` takes them; or images `(N, C, H, W)`, also as a
            sequence of images `(C, H, W)`, for which other resizes are not tried.
        labels: for each photo the indices of the classes that are right, or None to leave the
            photo out. Default: no labels.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        progress: called with the number of variants that are done and how many there are; default:
            not called.

    Returns:
        The verdict, and the score of every variant.

    Raises:
        ConvlensError: if there are no photos, or the model cannot take them.
        PhotoError: if a photo cannot be read, with `strict`.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> diagnosis = convlens.check_preprocessing(model, torch.rand(4, 3, 8, 8))
        >>> diagnosis.verdict, diagnosis.variants[0].name
        ('cannot tell', 'as configured: 0..1, nothing subtracted')
    """
    check_model(model)
    photos = _images_or_photos(model, photos)
    variants = list_variants(model, with_resizes=not isinstance(photos, Tensor))
    if labels is not None:
        check_photo_labels(model, labels, len(photos))
    examined = [i for i in range(len(photos)) if labels is None or labels[i]]
    images, readable, skipped = prepare_variants(model, photos, examined, variants, strict=strict)
    if not readable:
        why = "none of them can be read" if skipped else "none of them has a label"
        raise ConvlensError(f"{len(photos)} photos to examine, but {why}")
    right = [list(labels[i] or ()) for i in readable] if labels is not None else None
    photo_scores: list[PhotoScores] = []
    for number, variant in enumerate(variants):
        batch = images[variant.resize]
        if variant.reverse_channels:
            batch = batch.flip(1)
        photo_scores.append(_score_photos(variant.model, batch, right))
        if progress is not None:
            progress(number + 1, len(variants))
    scored = compare_variants([variant.name for variant in variants], photo_scores)
    better = None
    weights = check_weights(model)
    if weights.untrained:
        verdict = "cannot tell"
        reason = f"{weights.summary()}; no preprocessing is right for such a network"
    else:
        better = find_better(scored, labeled=right is not None)
        verdict, reason = conclude(scored, len(readable), labeled=right is not None)
    return Diagnosis(
        verdict=verdict,
        reason=reason,
        variants=tuple(scored),
        better=better,
        photos=len(readable),
        labeled=right is not None,
        skipped=tuple(skipped),
    )


def _images_or_photos(model: Model, photos: ImagesLike) -> Tensor | list[Any]:
    """Images, also given one by one, as a tensor `(N, C, H, W)`; photos as a list."""
    if isinstance(photos, Tensor):
        return model.to_images(photos)
    several = list_photos(photos)
    if any(isinstance(photo, Tensor) and photo.is_floating_point() for photo in several):
        return model.to_images(several)
    return [tensor_to_array(photo) for photo in several]


def _score_photos(
    model: Model, images: Tensor, right: Sequence[Sequence[int]] | None
) -> PhotoScores:
    """Score each photo by its labels, or without them by the network's confidence."""
    trace = trace_network(model, images)
    if right is not None:
        (logits,) = _compute_logits(model, trace, [images])
        return score_by_labels(logits, right, trace.output_head)
    logits, mirrored = _compute_logits(model, trace, [images, images.flip(3)])
    return score_by_confidence(logits, mirrored, trace.output_head)


def _compute_logits(model: Model, trace: Trace, batches: Sequence[Tensor]) -> list[Tensor]:
    """The logits of each batch, float64 `(N, classes)`."""
    # Mirrored images and those with reversed channels have another memory format.
    batches = [images.contiguous(memory_format=torch.channels_last) for images in batches]
    return [logits.cpu().double() for logits in compute_logits_together(model, trace, batches)]
