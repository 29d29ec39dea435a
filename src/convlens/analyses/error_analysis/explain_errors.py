"""Examines errors one by one: what makes them right, what they resemble, and what causes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.error_analysis.causes import (
    ChangedPredictions,
    causes_of,
    count_causes,
    do_overlap,
)
from convlens.analyses.error_analysis.changed_predictions import change_predictions
from convlens.analyses.error_analysis.error_maps import (
    ErrorMaps,
    map_errors,
    measure_background,
)
from convlens.analyses.error_analysis.evidence import ErrorCauses, ErrorEvidence
from convlens.analyses.error_analysis.photo_selection import (
    list_selected,
    read_images,
    select_photos,
)
from convlens.analyses.error_analysis.responsible_channels import find_channel_patches
from convlens.analyses.error_analysis.result import WrongPrediction
from convlens.analyses.error_analysis.right_classes import column_of
from convlens.analyses.error_analysis.similar_photos import SimilarPhotos, find_similar_photos
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.capture.folded_networks import keep_folded_networks
from convlens.data.sampling import spread
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.passes.options import PassOptions
from convlens.passes.source import PhotosOrImages

_CHECKED_PHOTOS = 32  # for the preprocessing


@dataclass(frozen=True)
class ExaminedErrors:
    """The errors to examine, and photos that are predicted correctly for comparison.

    Attributes:
        errors: the errors, the surest first.
        drawn: for each whether it is one of the random sample.
        right_numbers: numbers of random photos that are predicted correctly.
    """

    errors: Sequence[WrongPrediction]
    drawn: Sequence[bool]
    right_numbers: Sequence[int]


@keep_folded_networks()
def explain_errors(
    model: Model,
    photos: PhotosOrImages,
    labels: PhotoLabels,
    examined: ExaminedErrors,
    *,
    confusion: Tensor | None,
    skipped: Mapping[int, str],
    boxes: Mapping[str, tuple[ObjectBox, ...]] | None,
    seed: int,
    pass_options: PassOptions,
) -> ErrorCauses:
    """Collect the evidence about some errors, and count their causes.

    Args:
        model: the model; left untouched.
        photos: all photos.
        labels: the right classes of each.
        examined: the errors to examine, at least one.
        confusion: errors by label and prediction; None where pairs are not counted.
        skipped: the photos that cannot be read, by number.
        boxes: objects on the photos; None without.
        seed: seed of everything that is random.
        pass_options: how the search for similar photos runs, and where progress is reported; its
            stages are `errors`, `neighbors` and `patches`.
    """
    errors = examined.errors
    pass_options.progress("errors", 0, len(errors))
    numbers = [error.number for error in errors]
    right = [list(labels[number] or ()) for number in numbers]
    selected = select_photos(model, photos, numbers)
    diagnosis = _check_preprocessing(model, photos, labels, skipped)
    changed = change_predictions(model, selected, right, of_errors=True, seed=seed)
    controls = select_photos(model, photos, examined.right_numbers)
    right_of_controls = [list(labels[number] or ()) for number in examined.right_numbers]
    control = change_predictions(model, controls, right_of_controls, of_errors=False, seed=seed)
    pairs = [(error.label, error.prediction) for error in errors]
    images = read_images(model, selected)
    maps = map_errors(model, images, selected, pairs, boxes)
    similar = find_similar_photos(
        model, photos, labels, images, numbers, pairs, skipped, pass_options
    )
    patches, patches_failure = find_channel_patches(
        model, photos, skipped, maps, seed=seed, pass_options=pass_options
    )
    columns = column_of(torch.tensor(pairs, dtype=torch.int64)).tolist()
    causes = [
        causes_of(
            row,
            changed,
            better_preprocessing=diagnosis.better.name if diagnosis.better is not None else None,
            label_looks_wrong=error.label_suspicious and similar.favor_prediction(row),
            overlaps=do_overlap(confusion, *columns[row]),
            outside=maps.outside[row],
        )
        for row, error in enumerate(errors)
    ]
    pass_options.progress("errors", len(errors), len(errors))
    drawn = [row for row, is_drawn in enumerate(examined.drawn) if is_drawn]
    return ErrorCauses(
        examined=len(drawn),
        causes=count_causes(
            [causes[row] for row in drawn], changed, control,
            outside=[maps.outside[row] for row in drawn],
            control_outside=measure_background(model, controls, right_of_controls, boxes),
        ),
        evidence=_collect_evidence(examined, causes, changed, maps, similar),
        maps=maps.maps,
        centers_y=maps.centers_y,
        centers_x=maps.centers_x,
        layer=maps.layer,
        maps_failure=maps.failure,
        attack_failure=changed.attack_failure,
        diagnosis=diagnosis,
        searched=similar.searched,
        patches=patches,
        patches_failure=patches_failure,
    )  # fmt: skip


def _collect_evidence(
    examined: ExaminedErrors,
    causes: Sequence[tuple[str, ...]],
    changed: ChangedPredictions,
    maps: ErrorMaps,
    similar: SimilarPhotos,
) -> tuple[ErrorEvidence, ...]:
    """What was measured about each error; the row of an error is the same in all arguments."""
    return tuple(
        ErrorEvidence(
            number=error.number,
            drawn=examined.drawn[row],
            causes=causes[row],
            right_views=tuple(name for views in changed.views.values() for name in views[row]),
            right_preprocessings=changed.preprocessings[row],
            flip_level=changed.levels[row],
            evidence_outside=None if outside is None else outside[0],
            channels=maps.channels[row],
            similar_right=similar.right[row],
            similar_wrong=similar.wrong[row],
            right_similarities=similar.right_similarities[row],
            wrong_similarities=similar.wrong_similarities[row],
        )
        for row, (error, outside) in enumerate(zip(examined.errors, maps.outside, strict=True))
    )


def _check_preprocessing(
    model: Model, photos: PhotosOrImages, labels: PhotoLabels, skipped: Mapping[int, str]
) -> Diagnosis:
    """The check of the preprocessing on labeled photos that are spread over the data set."""
    labeled = [number for number, right in enumerate(labels) if right and number not in skipped]
    numbers = spread(labeled, _CHECKED_PHOTOS)
    return check_preprocessing(
        model,
        list_selected(select_photos(model, photos, numbers)),
        labels=[labels[number] for number in numbers],
    )
