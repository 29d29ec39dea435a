"""Reads the photos of a report and predicts their classes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from convlens.analyses.predictions.predictions import predict
from convlens.data.photo_names import shortest_unique_paths
from convlens.data.photos import Photo, read_photo
from convlens.errors import PhotoError
from convlens.models.label_tables import match_labels
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.page.progress import Stages
from convlens.page.result import ReportPhoto, SkippedPhoto
from convlens.text import printable
from convlens.tracing.tracer import trace

PREDICTIONS = "predictions"  # the stage, and its name among the failures
_BATCH_SIZE = 32


def read_photos(
    model: Model,
    paths: Sequence[Path],
    labels: Mapping[str, tuple[int, ...]],
    *,
    strict: bool,
    stages: Stages,
) -> tuple[list[ReportPhoto], list[SkippedPhoto]]:
    """Read photos one by one and predict their classes, of several at once.

    Args:
        model: left untouched.
        paths: paths of the photos.
        labels: indices of the right classes by the end of a path.
        strict: stop at a photo that cannot be read, instead of skipping it.
        stages: stages of the report.

    Returns:
        The photos that were read, and those that could not be.

    Raises:
        PhotoError: no photo can be read; with `strict`, one cannot.
    """
    photos: list[ReportPhoto] = []
    skipped: list[SkippedPhoto] = []
    images: dict[int, Tensor] = {}  # of the last photos, which wait for their predictions
    # In a batch, other images would change the predictions of some networks.
    at_once = _BATCH_SIZE if trace(model).takes_batches else 1
    expected = dict(zip(paths, match_labels(paths, labels), strict=True))
    names = dict(zip(paths, shortest_unique_paths(paths), strict=True))
    for done, path in enumerate(paths, start=1):
        try:
            decoded = _read_quotable(path)
        except PhotoError as error:
            if strict:
                raise
            skipped.append(SkippedPhoto(printable(path), str(error)))
            continue
        photo = ReportPhoto(
            name=names[path],
            path=str(path),
            notes=decoded.notes,
            expected=expected[path],
            expected_names=tuple(class_name(model.labels, at) for at in expected[path] or ()),
        )
        with stages.attempt(PREDICTIONS):
            images[len(photos)] = model.prepare(decoded)
        photos.append(photo)
        if len(images) == at_once:
            _predict(model, photos, images, stages)
            images.clear()
        stages.report(PREDICTIONS, done, len(paths))
    if images:
        _predict(model, photos, images, stages)
    if not photos:
        raise PhotoError(f"none of {len(skipped)} photos can be read; {skipped[0].reason}")
    return photos, skipped


def show_photos(
    model: Model, photos: Sequence[ReportPhoto], numbers: Sequence[int], stages: Stages
) -> tuple[list[ReportPhoto], dict[int, Tensor]]:
    """Prepare the images of the photos that sections show in full.

    Args:
        model: left untouched.
        photos: all photos of the report.
        numbers: numbers of the photos to show.
        stages: stages of the report.

    Returns:
        All photos, those that are shown marked so, and float32 images `(1, C, H, W)` on the CPU by
        the number of their photo.
    """
    images = {}
    for number in numbers:
        with stages.attempt(PREDICTIONS):
            images[number] = model.prepare(photos[number].path).cpu()
    return [replace(photo, shown=at in images) for at, photo in enumerate(photos)], images


def _read_quotable(path: Path) -> Photo:
    photo = read_photo(path)
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PhotoError(
            f"{path} has a name that is no UTF-8, so that no page can quote it; rename the file"
        ) from None
    return photo


def _predict(
    model: Model, photos: list[ReportPhoto], images: Mapping[int, Tensor], stages: Stages
) -> None:
    """Replace some photos by the same with predictions, if the network gives any.

    Args:
        model: left untouched.
        photos: all photos so far.
        images: float32 `(1, C, H, W)` by the number of the photo.
        stages: stages of the report.
    """
    with stages.attempt(PREDICTIONS):
        together = predict(model, torch.cat(list(images.values())))
        for row, number in enumerate(images):
            photo, predictions = photos[number], together.select_image(row)
            first = int(predictions.classes[0, 0])
            photos[number] = replace(
                photo,
                predictions=predictions,
                names=predictions.names[0],
                probabilities=tuple(predictions.confidences[0].tolist()),
                right=first in photo.expected if photo.expected else None,
            )
