"""Receptive field of views that are laid out in storage by strides.

These are `as_strided`, and a tensor after a write to another view of its storage (`x[:, :2] = y`).
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from convlens.tracing.interval import (
    FieldView,
    PixelInterval,
    combine_everything,
    drop_repetition,
    map_bounds,
    update_spacing,
)
from convlens.tracing.recording.recording import Operation
from convlens.tracing.recording.tensor_nodes import StorageLayout

_MAX_STORAGE_SIZE = 2**24  # elements; larger storages are not followed
NO_PIXEL = 2**40  # outside any image: low of an element that sees nothing, and minus it its high


def as_strided(view: FieldView) -> list[PixelInterval | None]:
    """Lay the bounds out in memory as the tensor is, and read them by the strides."""
    name = view.first_argument
    interval, layout = view.interval(name), view["layout"]
    if interval is None:
        return [None]
    read = layout_of_view(view.operation)
    start, end = min(layout.offset, read.offset), max(layout.end, read.end)
    if end - start > _MAX_STORAGE_SIZE:
        return combine_everything(view)

    def move(bound: Tensor) -> Tensor:
        memory = torch.full((end - start,), NO_PIXEL, dtype=torch.int64)
        laid_out = memory.as_strided(layout.shape, layout.stride, layout.offset - start)
        laid_out.copy_(bound.expand(layout.shape))
        return memory.as_strided(read.shape, read.stride, read.offset - start).contiguous()

    moved = map_bounds(interval, move)
    if bool((moved.low == NO_PIXEL).any()):
        return combine_everything(view)  # it reads elements that the tensor does not have
    return [update_spacing(map_bounds(moved, drop_repetition), view.axis)]


def layout_of_view(operation: Operation) -> StorageLayout:
    """The layout that `as_strided` gives its result in the storage."""
    arguments = operation.arguments
    offset = arguments.get("storage_offset")
    return StorageLayout(
        tuple(arguments["size"]),
        tuple(arguments["stride"]),
        arguments["layout"].offset if offset is None else offset,
    )


def write_through(view: FieldView) -> list[PixelInterval | None]:
    """Apply the write to the intervals, laid out in memory as the elements of the tensors are."""
    before = view.interval_of(view["before"].node)
    written = view.interval_of(view["written"].node)
    base_layout, view_layout = view["base"], view["view"]
    start = min(base_layout.offset, view_layout.offset)
    size = max(base_layout.end, view_layout.end) - start
    strides = [
        stride
        for layout in (base_layout, view_layout)
        for length, stride in zip(layout.shape, layout.stride, strict=True)
        if length > 1
    ]
    present = [interval for interval in (before, written) if interval is not None]
    if 0 in strides or size > _MAX_STORAGE_SIZE:
        return combine_everything(view)

    def read_base(bound_of: Callable[[PixelInterval], Tensor], sign: int) -> Tensor:
        memory = torch.full((size,), sign * NO_PIXEL, dtype=torch.int64)
        for layout, interval in ((base_layout, before), (view_layout, written)):
            target = memory.as_strided(layout.shape, layout.stride, layout.offset - start)
            if interval is None:
                target.fill_(sign * NO_PIXEL)
            else:
                target.copy_(bound_of(interval))
        base = memory.as_strided(base_layout.shape, base_layout.stride, base_layout.offset - start)
        return base.contiguous()

    low = read_base(lambda interval: interval.low, 1)
    high = read_base(lambda interval: interval.high, -1)
    if bool((low == NO_PIXEL).all()):
        return [None]  # the write went to elements that the tensor does not have
    spacing = present[0].spacing
    interval = replace(
        present[0],
        low=fill_missing(low, view.axis, spacing, 1),
        high=fill_missing(high, view.axis, spacing, -1),
        everywhere=all(interval.everywhere for interval in present),
        sees_whole_image=any(interval.sees_whole_image for interval in present),
    )
    return [update_spacing(interval, view.axis)]


def fill_missing(bound: Tensor, axis: int, spacing: float, sign: int) -> Tensor:
    """Give elements that see nothing (a frame of zeros) the bound of their neighbors.

    They take the widest bound of their row (of their column, along x). Where a whole row sees
    nothing, it continues from the nearest row that does with the given spacing, as padding does.

    Args:
        bound: of the intervals.
        axis: of the image, -2 (y) or -1 (x).
        spacing: pixels between neighboring positions.
        sign: 1 for the low bound, -1 for the high one.
    """
    is_missing = bound == sign * NO_PIXEL
    if bound.ndim < 2 or not bool(is_missing.any()):
        return bound
    axis %= bound.ndim
    other_dims = [dim for dim in range(bound.ndim) if dim != axis]
    rows = torch.amin(bound, other_dims) if sign > 0 else torch.amax(bound, other_dims)
    rows_with_pixels = (rows != sign * NO_PIXEL).nonzero().flatten()
    positions = torch.arange(len(rows))
    nearest = rows_with_pixels[(positions[:, None] - rows_with_pixels[None]).abs().argmin(dim=1)]
    distance = (positions - nearest) * spacing
    rows = rows[nearest] + (distance.floor() if sign > 0 else distance.ceil()).long()
    shape = [1] * bound.ndim
    shape[axis] = len(rows)
    return torch.where(is_missing, rows.view(shape), bound)
