"""Checks of the labels that a function is given for photos."""

from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.models.output_head import lowest_prediction
from convlens.tracing.tracer import trace as trace_network


def check_label_count(labels: PhotoLabels | None, photos: int) -> None:
    """Raise ConvlensError for labels of another number than the photos; no labels are fine.

    Args:
        labels: for each photo the indices of its right classes, or None; None for no labels.
        photos: number of photos.

    Example:
        >>> check_label_count([(0,), None], 2)
    """
    if labels is not None and len(labels) != photos:
        raise ConvlensError(f"{len(labels)} labels for {photos} photos; give one entry per photo")


def check_photo_labels(model: Model, labels: PhotoLabels, photos: int) -> None:
    """Raise ConvlensError for labels of another number than the photos, or out of range.

    Args:
        model: the model.
        labels: for each photo the indices of its right classes, or None.
        photos: number of photos.
    """
    check_label_count(labels, photos)
    trace = trace_network(model)
    classes, lowest = trace.num_outputs, lowest_prediction(trace.num_outputs, trace.output_head)
    wrong = [index for row in labels for index in row or () if not lowest <= index < classes]
    if wrong:
        raise ConvlensError(
            f"a label outside {lowest} to {classes - 1} ({wrong[0]}); give class indices in this "
            f"range"
        )
