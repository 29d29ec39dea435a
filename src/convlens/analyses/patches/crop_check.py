"""The check that a unit has the same activation when it sees only its receptive field.

The check replaces everything outside a unit's receptive field by the average and computes the
activation again, which must stay the same. Where possible, it runs a window instead of the whole
image. In a window a network may do something else, for example where it cuts rows by their number;
a difference counts only if the whole image confirms it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from convlens.analyses.patches.crop_check_result import TOLERANCE, CropCheck
from convlens.analyses.patches.windows import (
    FieldBox,
    Window,
    field_box,
    find_window,
    pixels_inside,
    position_in_window,
    smallest_side,
    trace_window,
)
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.tiles import capture_maps
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.runtime.double_precision import clone_in_double_precision
from convlens.runtime.guard import unwrap_network
from convlens.runtime.precision import full_precision
from convlens.tracing.memory import images_at_once
from convlens.tracing.trace import Trace

_MARGIN = 1.01  # of the bounds of normalized pixels

_BATCH_SIZE = 32  # crops
_SCALE_IMAGES = 8  # images from which the layer's root mean square is computed


@dataclass(frozen=True)
class UnitActivation:
    """The activation of a unit in an image.

    Attributes:
        image: number of the image among those given.
        channel: the unit's channel.
        row: the unit's row in the map.
        column: the unit's column in the map.
        value: the activation.
    """

    image: int
    channel: int
    row: int
    column: int
    value: float


@dataclass(frozen=True)
class _FieldCrop:
    """The receptive field of a position in an image, and the window that is run for it."""

    image: int
    row: int
    column: int
    box: FieldBox
    window: Window


class RootMeanSquare:
    """The root mean square of a layer's activations, to which differences are related.

    It is computed once, as several checks of a layer would run the same large image again.

    Args:
        model: the model. It is left untouched.
        image_trace: its trace, for images of this size.
        node: the node of the layer.
    """

    def __init__(self, model: Model, image_trace: Trace, node: int) -> None:
        self._model, self._trace, self._node = model, image_trace, node
        self._value: float | None = None

    def over(self, images: Tensor) -> float:
        """The root mean square over at most 8 of the images; 1.0 where all activations are zero.

        Later calls return the same value, whatever their images.

        Args:
            images: `(N, C, H, W)` inside the bounds.
        """
        if self._value is None:
            self._value = self._compute(images[:_SCALE_IMAGES]) or 1.0
        return self._value

    def _compute(self, images: Tensor) -> float:
        squares, count = 0.0, 0
        for part in images.split(images_at_once(images[0, 0].numel(), len(images))):
            maps = capture_maps(self._model, self._trace, part.to(self._model.device), self._node)
            squares += float(torch.linalg.vector_norm(maps, dtype=torch.float64)) ** 2
            count += maps.numel()
        return math.sqrt(squares / count)


@full_precision()
@fold_batch_norms()
def check_crops(
    model: Model,
    image_trace: Trace,
    node: int,
    images: Tensor,
    units: Sequence[UnitActivation],
    scale_source: RootMeanSquare | None = None,
) -> CropCheck:
    """Compute the activations of units again on what they see.

    Args:
        model: the model. It is left untouched.
        image_trace: its trace, for images of this size.
        node: the node of the units, by number in the trace.
        images: `(N, C, H, W)` inside the bounds.
        units: the units, with the activations to compare.
        scale_source: gives the root mean square of the layer. Default: that over these images.

    Raises:
        ConvlensError: a node without maps.
    """
    field = image_trace.field(node)
    if field is None:
        raise ConvlensError(f"{image_trace.name(node)} gives no maps; name a layer with maps")
    if field.sees_whole_image:
        return CropCheck(checked=0, largest_difference=None, global_units=0, sees_whole_image=True)
    size = image_trace.image_size
    # In normalized images the average is zero, also where each image's own mean is subtracted.
    normalized = model.normalize(images)
    raw = replace(
        model, mean=(0.0,), std=(1.0,), center="data", bounds=_bounds_of_normalized(model)
    )
    least = smallest_side(raw, image_trace, node)
    # Channels at the same position of an image share a crop, which runs once for all of them.
    units_of_crop: dict[_FieldCrop, list[UnitActivation]] = defaultdict(list)
    for unit in units:
        box = field_box(field, unit.row, unit.column)
        if not _sees_whole_image(box, size):
            window = find_window(field, box, size, least)
            crop = _FieldCrop(unit.image, unit.row, unit.column, box, window)
            units_of_crop[crop].append(unit)
    checked = sum(map(len, units_of_crop.values()))
    if not checked:
        return CropCheck(
            checked=0, largest_difference=None, global_units=len(units), sees_whole_image=False
        )
    scale = (scale_source or RootMeanSquare(model, image_trace, node)).over(images)
    differences = _compare_activations(raw, image_trace, node, normalized, units_of_crop)
    doubtful = {
        replace(crop, window=(0, 0, *size)): units_of_crop[crop]
        for crop, difference in differences.items()
        if difference > TOLERANCE * scale and crop.window[2:] != size
    }
    confirmed = _compare_activations(raw, image_trace, node, normalized, doubtful)
    largest, image_of_largest = 0.0, 0
    for crop, in_window in differences.items():
        difference = confirmed.get(replace(crop, window=(0, 0, *size)), in_window)
        if difference > largest:
            largest, image_of_largest = difference, crop.image
    rounding = 0.0
    if largest > TOLERANCE * scale:
        image = images[image_of_largest : image_of_largest + 1]
        rounding = _largest_rounding_error(model, image_trace, node, image) / scale
    return CropCheck(
        checked=checked,
        largest_difference=largest / scale,
        global_units=len(units) - checked,
        sees_whole_image=False,
        rounding=rounding,
    )


def _bounds_of_normalized(model: Model) -> tuple[float, float]:
    """Bounds that all normalized pixels keep, and the zeros outside a receptive field.

    Much wider ones would not do: traces run the network on images at the bounds.
    """
    ends = model.bounds if model.center == "data" else (-model.span, model.span)
    values = [(end - mean) / std for end, mean, std in product(ends, model.mean, model.std)]
    # Half precision rounds a normalized pixel by less than a hundredth.
    return _MARGIN * min(0.0, *values), _MARGIN * max(0.0, *values)


def _sees_whole_image(box: FieldBox, size: tuple[int, int]) -> bool:
    top, bottom, left, right = box
    height, width = size
    return top <= 0 and bottom >= height - 1 and left <= 0 and right >= width - 1


def _compare_activations(
    raw: Model,
    image_trace: Trace,
    node: int,
    normalized: Tensor,
    units_of_crop: Mapping[_FieldCrop, Sequence[UnitActivation]],
) -> dict[_FieldCrop, float]:
    """The greatest difference of activation of the units of each crop; infinite for NaN."""
    by_size: dict[tuple[int, int], list[_FieldCrop]] = defaultdict(list)
    for crop in units_of_crop:
        by_size[crop.window[2:]].append(crop)
    differences = {}
    for (height, width), crops in by_size.items():
        count = images_at_once(height * width, _BATCH_SIZE)
        for start in range(0, len(crops), count):
            part = crops[start : start + count]
            columns = _recompute_activations(raw, image_trace, node, normalized, part)
            for crop, activations in zip(part, columns, strict=True):
                units = units_of_crop[crop]
                again = activations[[unit.channel for unit in units]].double()
                before = torch.tensor([unit.value for unit in units], dtype=torch.float64)
                differences[crop] = float((again - before).abs().nan_to_num(math.inf).max())
    return differences


def _recompute_activations(
    raw: Model,
    image_trace: Trace,
    node: int,
    normalized: Tensor,
    crops: Sequence[_FieldCrop],
) -> Tensor:
    """Compute the activations at some positions, with zeros outside their receptive fields.

    Args:
        raw: the model without normalization.
        image_trace: its trace on whole images.
        node: the node of the units.
        normalized: the normalized images.
        crops: the positions; all windows have one size.

    Returns:
        The activations of all channels at each position, `(crops, C)`.
    """
    size = crops[0].window[2:]
    name = image_trace.name(node)
    window_trace = trace_window(raw, size)
    positions = _find_positions(image_trace, window_trace, window_trace.find_node(name), crops)
    if positions is None:
        whole_image = (0, 0, *image_trace.image_size)
        on_image = [replace(crop, window=whole_image) for crop in crops]
        return _recompute_activations(raw, image_trace, node, normalized, on_image)
    windows = []
    for crop in crops:
        (top, bottom, left, right), (y, x, height, width) = crop.box, crop.window
        window = torch.zeros_like(normalized[crop.image, :, :height, :width])
        rows = pixels_inside(top, bottom, y, y + height - 1)
        columns = pixels_inside(left, right, x, x + width - 1)
        window[:, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = (
            normalized[crop.image, :, rows, columns]
        )
        windows.append(window)
    images = torch.stack(windows).contiguous(memory_format=torch.channels_last)
    maps = _compute_maps(raw, window_trace, window_trace.find_node(name), images)
    rows_of_units, columns_of_units = torch.tensor(positions, dtype=torch.int64).unbind(dim=1)
    return maps[torch.arange(len(crops)), :, rows_of_units, columns_of_units].float().cpu()


def _find_positions(
    image_trace: Trace,
    window_trace: Trace,
    node: int,
    crops: Sequence[_FieldCrop],
) -> list[tuple[int, int]] | None:
    """Row and column of each position in its window; None where one of them is not unique."""
    if window_trace.image_size == image_trace.image_size:
        return [(crop.row, crop.column) for crop in crops]
    positions = [position_in_window(window_trace, node, crop.box, crop.window) for crop in crops]
    unique = [position for position in positions if position is not None]
    return unique if len(unique) == len(positions) else None


def _compute_maps(raw: Model, model_trace: Trace, node: int, normalized: Tensor) -> Tensor:
    maps = capture_maps(raw, model_trace, normalized, node)
    return model_trace.channels_first(node, maps)


def _largest_rounding_error(model: Model, model_trace: Trace, node: int, image: Tensor) -> float:
    """The greatest error of a layer's activations; 0 for networks without double precision."""
    maps = capture_maps(model, model_trace, image.to(model.device), node)
    network = clone_in_double_precision(unwrap_network(model.network))
    try:
        precise = replace(model, network=network)
        exact = capture_maps(precise, model_trace, image.to(model.device), node)
    except ConvlensError:
        return 0.0
    return float((maps.double() - exact.double()).abs().max())
