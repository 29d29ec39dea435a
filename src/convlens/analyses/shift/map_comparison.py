"""Compare the maps of a shifted image with the shifted maps of the image, layer by layer.

Image and shifted images run in one batch, and each layer is compared as soon as it is computed. So
no maps are kept, and all layers cost one pass of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

import torch
from torch import Tensor

from convlens.analyses.shift.shifted_layers import Offset, ShiftedLayer
from convlens.capture.nodes import stream_nodes
from convlens.models.model import Model
from convlens.runtime.guard import preserve_network
from convlens.tracing.image_parts import even_parts, image_parts
from convlens.tracing.trace import Trace

_BATCH_SIZE = 4  # images, at most, beside their shifted ones; large batches run no faster
_CHANNELS = 64  # of a layer that are compared, the first ones, as channels have no order
_ROWS = 40  # of a map; of more, every second or third is compared


@dataclass(frozen=True)
class _Overlap:
    """Along one axis, the positions of the shifted image's map that can be compared.

    Attributes:
        start: the first position.
        stop: the position after the last.
        back: number of whole positions by which the unshifted map is moved.
        fraction: share of a further position by which it is moved, by linear interpolation.
        inner: first position and position after the last of those whose receptive fields lie
            within the image, before and after the shift; None if there are fewer than two.
    """

    start: int
    stop: int
    back: int
    fraction: float
    inner: tuple[int, int] | None


_Axes = tuple[_Overlap, _Overlap]


def compare_maps(
    model: Model,
    trace: Trace,
    layers: Sequence[ShiftedLayer],
    images: Tensor,
    offsets: Sequence[Offset],
) -> Tensor:
    """Errors of each image's maps under each shift.

    Args:
        model: the model; left untouched.
        trace: its trace.
        layers: the layers to compare (L of them).
        images: `(N, C, H, W)`.
        offsets: the shifts as (rows, columns) (S of them).

    Returns:
        float32 `(N, 2, S, L)`, of the inner positions and of the whole map; NaN where nothing can
        be compared.
    """
    errors = torch.full((len(images), 2, len(offsets), len(layers)), torch.nan, dtype=torch.float32)
    overlaps = {
        layer.node: (number, [_overlap(trace, layer, offset) for offset in offsets])
        for number, layer in enumerate(layers)
    }
    variants = 1 + len(offsets)
    # The images of a batch beside their shifted ones, by the memory that all of them take.
    at_once = image_parts(trace, images[:1].expand(_BATCH_SIZE * variants, -1, -1, -1))
    with preserve_network(model.network):
        for span in even_parts(len(images), max(1, at_once[0].stop // variants)):
            part, part_errors = images[span], errors[span]
            shifted = [torch.roll(part, offset, dims=(2, 3)) for offset in offsets]
            batch = torch.cat([part, *shifted]).contiguous(memory_format=torch.channels_last)
            add_errors = partial(_add_errors, trace, len(part), overlaps, part_errors)
            stream_nodes(model, trace, batch, overlaps.keys(), add_errors)
    return errors


def _add_errors(
    trace: Trace,
    count: int,
    overlaps: dict[int, tuple[int, list[_Axes | None]]],
    errors: Tensor,
    node: int,
    maps: Tensor,
) -> None:
    """Write one layer's errors, from the maps of the images and of the shifted images."""
    number, axes_by_shift = overlaps[node]
    maps = trace.channels_first(node, maps)
    maps = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    unshifted = maps[:count, :_CHANNELS]
    if all(axes is None for axes in axes_by_shift):
        return
    every = ceil(unshifted.shape[2] / _ROWS)
    variance = _variance(unshifted[:, :, ::every])
    for shift, axes in enumerate(axes_by_shift):
        if axes is None:
            continue
        rows, columns = axes
        shifted = maps[count * (shift + 1) : count * (shift + 2), :_CHANNELS]
        compared = shifted[:, :, rows.start : rows.stop : every, columns.start : columns.stop]
        difference = compared - _move(unshifted, rows, columns, every)
        squares = difference.square_().sum(dim=1).cpu()
        errors[:, 1, shift, number] = (squares.mean(dim=(1, 2)) / variance).sqrt()
        if rows.inner is None or columns.inner is None:
            continue
        top, bottom = (ceil((end - rows.start) / every) for end in rows.inner)
        left, right = (end - columns.start for end in columns.inner)
        squares = squares[:, top:bottom, left:right]
        errors[:, 0, shift, number] = (squares.mean(dim=(1, 2)) / variance).sqrt()


def _variance(maps: Tensor) -> Tensor:
    """The variance of each image's maps around their channels' means, summed over channels."""
    size = maps.shape[2] * maps.shape[3]
    mean = maps.mean(dim=(2, 3))
    deviation = maps.square().sum(dim=(1, 2, 3)) - size * mean.square().sum(dim=1)
    return (deviation.clamp(min=0) / size).cpu()


def _move(maps: Tensor, rows: _Overlap, columns: _Overlap, every: int) -> Tensor:
    """The part of the unshifted maps to compare with, moved by positions and fractions of one."""
    top, bottom = rows.start - rows.back, rows.stop - rows.back
    moved = maps[:, :, top:bottom:every]
    if rows.fraction:
        moved = torch.lerp(moved, maps[:, :, top - 1 : bottom - 1 : every], rows.fraction)
    left, right = columns.start - columns.back, columns.stop - columns.back
    result = moved[:, :, :, left:right]
    if columns.fraction:
        result = torch.lerp(result, moved[:, :, :, left - 1 : right - 1], columns.fraction)
    return result


def _overlap(trace: Trace, layer: ShiftedLayer, offset: Offset) -> _Axes | None:
    """The positions of a layer that can be compared under a shift; None if there are none."""
    dims = trace.spatial_dims(layer.node)
    field = trace.field(layer.node)
    if dims is None or field is None or layer.spacing is None:
        return None
    axes = []
    for axis in (0, 1):
        length = trace.shape(layer.node)[dims[axis]]
        back, remainder = divmod(offset[axis], layer.spacing[axis])
        start = back + (1 if remainder else 0)
        if start >= length:
            return None
        low, high, side = field.low[axis], field.high[axis], trace.image_size[axis]
        positions = torch.arange(start, length)
        within_image = (low >= 0) & (high < side)
        if field.size[axis] is None:
            # A field that is cut short lies at a border, too (edge pixels are repeated, say).
            extent = high - low
            within_image &= extent == extent.mode().values
        inner = within_image[positions]
        for distance in {back, start}:  # then pixels that enter at the edge are not seen either
            inner = inner & within_image[positions - distance]
        inner_positions = positions[inner].tolist()
        # Fewer than two positions vary too little for an error to mean much.
        ends = (inner_positions[0], inner_positions[-1] + 1) if len(inner_positions) > 1 else None
        axes.append(_Overlap(start, length, back, remainder / layer.spacing[axis], ends))
    return axes[0], axes[1]
