"""Grad-CAM of the right minus the predicted class, and the channels behind the wrong one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.error_analysis.neighbors import find_feature_node
from convlens.analyses.error_analysis.photo_selection import read_images
from convlens.analyses.error_analysis.right_classes import (
    class_of,
    column_of,
    mark_right,
    pad_labels,
    to_columns,
)
from convlens.analyses.gradcam.boxes import ObjectBox, boxes_on_image
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.gradcam.result import ChannelShare, GradCam
from convlens.analyses.predictions.predictions import compute_logits
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.models.output_head import is_binary, predicted_classes
from convlens.tracing.tracer import trace as trace_network

_BATCH_SIZE = 16
_CHANNELS = 5


@dataclass(frozen=True)
class ErrorMaps:
    """Maps of several errors.

    Attributes:
        maps: float32 `(E, h, w)`, right minus predicted class, in units of the logit.
        channels: for each error the channels that contribute most to the evidence for the
            predicted class. Where the channels of the maps are the classes, those that the last
            layer reads.
        outside: for each error the share of this evidence that lies outside the boxes of objects,
            and the share of the image that does; None without boxes on the photo.
        centers_y: float64 `(h,)`, the image row at the center of each cell's receptive field.
        centers_x: float64 `(w,)`, the image column at the center of each cell's receptive field.
        layer: the layer of the maps; empty where the network has none with maps.
        channel_layer: the layer of the channels.
        failure: why there are no maps; empty where there are.
    """

    maps: Tensor
    channels: Sequence[tuple[ChannelShare, ...]]
    outside: Sequence[tuple[float, float] | None]
    centers_y: Tensor
    centers_x: Tensor
    layer: str
    channel_layer: str
    failure: str = ""


def map_errors(
    model: Model,
    images: Tensor,
    photos: PhotoDataset | Tensor,
    pairs: Sequence[tuple[int, int]],
    boxes: Mapping[str, tuple[ObjectBox, ...]] | None,
) -> ErrorMaps:
    """Compute the maps of errors. Those of a network without maps are empty.

    Args:
        model: the model; left untouched.
        images: `(E, C, H, W)`.
        photos: the photos of these images, by which their boxes are found.
        pairs: right and predicted class of each image.
        boxes: objects on the photos; None without.
    """
    try:
        cams = [
            _explain(model, images[start : start + _BATCH_SIZE], pairs[start : start + _BATCH_SIZE])
            for start in range(0, len(images), _BATCH_SIZE)
        ]
    except ConvlensError as error:
        empty = torch.zeros(0, dtype=torch.float64)
        return ErrorMaps(
            torch.zeros(len(images), 0, 0, dtype=torch.float32), [()] * len(images),
            [None] * len(images), empty, empty, "", "", str(error),
        )  # fmt: skip
    channel_cams = _explain_channels(model, images, pairs, cams)
    channels, outside = [], []
    for row in range(len(images)):
        batch, at = divmod(row, _BATCH_SIZE)
        channels.append(channel_cams[batch].channel_shares(at, 1, _CHANNELS))
        outside.append(_share_outside(model, cams[batch], at, photos, row, boxes))
    return ErrorMaps(
        torch.cat([cam.maps[:, 0] for cam in cams]), channels, outside,
        cams[0].centers_y, cams[0].centers_x, cams[0].channel_layer,
        channel_cams[0].channel_layer,
    )  # fmt: skip


def _explain_channels(
    model: Model, images: Tensor, pairs: Sequence[tuple[int, int]], cams: list[GradCam]
) -> list[GradCam]:
    """The maps whose channels say something: those of `cams`, unless their channels are classes.

    SqueezeNet, for example, averages a convolution with a channel for each class. The channels that
    this convolution reads are named then.
    """
    trace = trace_network(model, images)
    node = find_feature_node(trace)
    dims = trace.spatial_dims(node)
    if dims is None or all(trace.shape(node)[dim] == 1 for dim in dims):
        return cams
    try:
        return [
            _explain(
                model, images[start : start + _BATCH_SIZE], pairs[start : start + _BATCH_SIZE],
                layer=trace.name(node),
            )
            for start in range(0, len(images), _BATCH_SIZE)
        ]  # fmt: skip
    except ConvlensError:
        return cams


def measure_background(
    model: Model,
    photos: PhotoDataset | Tensor,
    right: Sequence[Sequence[int]],
    boxes: Mapping[str, tuple[ObjectBox, ...]] | None,
) -> list[tuple[float, float] | None]:
    """Evidence outside the boxes behind right predictions, against the next class.

    The evidence is that for the predicted class minus the most probable one that is not right, as
    for an error it is that for the predicted minus the right class.

    Args:
        model: the model; left untouched.
        photos: photos that are predicted correctly; none is allowed.
        right: the right classes of each.
        boxes: objects on the photos; None without.

    Returns:
        For each photo what `ErrorMaps.outside` holds.
    """
    if boxes is None or isinstance(photos, Tensor) or not len(photos):
        return [None] * len(photos)
    images = read_images(model, photos)
    trace = trace_network(model, images)
    binary = is_binary(trace.num_outputs, trace.output_head)
    pairs = []
    for start in range(0, len(images), _BATCH_SIZE):
        logits = compute_logits(model, trace, images[start : start + _BATCH_SIZE]).cpu()
        scores, _ = to_columns(logits, trace.output_head)
        is_right = mark_right(pad_labels(right[start : start + _BATCH_SIZE]), scores.shape[1])
        predictions = column_of(predicted_classes(logits, trace.output_head)).tolist()
        runners_up = scores.masked_fill(is_right, -torch.inf).argmax(dim=1).tolist()
        pairs += [
            (class_of(runner_up, binary=binary), class_of(prediction, binary=binary))
            for runner_up, prediction in zip(runners_up, predictions, strict=True)
        ]
    return list(map_errors(model, images, photos, pairs, boxes).outside)


def _explain(
    model: Model,
    images: Tensor,
    pairs: Sequence[tuple[int, int]],
    *,
    layer: str | None = None,
) -> GradCam:
    """Two maps of each image: right minus predicted class, and predicted minus right class."""
    columns = torch.tensor(pairs, dtype=torch.int64, device=images.device)

    def differences(outputs: Tensor) -> Tensor:
        scores = outputs.flatten(1)
        if scores.shape[1] == 1:  # the other logit of a binary network is 0
            scores = torch.cat([scores, torch.zeros_like(scores)], dim=1)
        right, wrong = scores.gather(1, column_of(columns)).unbind(dim=1)
        return torch.stack([right - wrong, wrong - right], dim=1)

    return gradcam(model, images, target=differences, layer=layer)


def _share_outside(
    model: Model,
    cam: GradCam,
    row: int,
    photos: PhotoDataset | Tensor,
    number: int,
    boxes: Mapping[str, tuple[ObjectBox, ...]] | None,
) -> tuple[float, float] | None:
    """Shares of the evidence for the wrong class, and of the image, outside of a photo's boxes."""
    if boxes is None or isinstance(photos, Tensor):
        return None
    objects = boxes_on_image(model, photos[number], boxes)
    if not objects:
        return None
    evidence = cam.select_image(row).on_image()[0, 1].clamp(min=0).double()
    inside = torch.zeros(evidence.shape, dtype=torch.bool)
    for box in objects:
        left, top, right, bottom = (round(edge) for edge in box.edges)
        inside[top:bottom, left:right] = True
    total = float(evidence.sum())
    if total <= 0:
        return None
    return float(evidence[~inside].sum()) / total, float((~inside).double().mean())
