"""Pixel intervals: the pixels that each element of a node sees along one axis, and their union."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from convlens.tracing.operation_view import OperationView
from convlens.tracing.recording import NodeRef


@dataclass(frozen=True, eq=False)
class PixelInterval:
    """For each element of a node, the pixels that it sees along one axis of the image.

    Attributes:
        low: int64, the first pixel. It broadcasts to the node's shape and has as many dimensions.
        high: the last pixel, in the same form.
        spacing: pixels between neighboring positions, used to continue into the padding.
        length: number of pixels of the image along the axis.
        everywhere: whether an operation has mixed all positions, so that all elements see the same.
        beyond: whether an element also depends on pixels outside its interval, because an operation
            on the way mixes all positions.
    """

    low: Tensor
    high: Tensor
    spacing: float
    length: int
    everywhere: bool = False
    beyond: bool = False


@dataclass(frozen=True, eq=False)
class FieldView(OperationView):
    """One operation, with the pixel intervals of its inputs along one axis of the image.

    Attributes:
        intervals: pixel interval of each input that depends on the image, by the node's index.
        axis: -2 for rows (y), -1 for columns (x).
        used: indices of the inputs whose interval the rule has read. An input that it does not read
            counts as mixed into all outputs.
    """

    intervals: dict[int, PixelInterval] = field(default_factory=dict)
    axis: int = -1
    used: set[int] = field(default_factory=set)

    def interval(self, name: str) -> PixelInterval | None:
        """The pixel interval of a tensor argument; None where it does not depend on the image."""
        ref = self[name]
        return self.interval_of(ref.node) if isinstance(ref, NodeRef) else None

    def interval_of(self, node: int) -> PixelInterval | None:
        """The pixel interval of an input by its index."""
        self.used.add(node)
        return self.intervals.get(node)


FieldRule = Callable[[FieldView], list[PixelInterval | None]]


def merge_intervals(intervals: Sequence[PixelInterval | None], ndim: int) -> PixelInterval | None:
    """The union of intervals, element by element.

    Where some are local and others the same everywhere, it is the union of the local ones.
    """
    present = [interval for interval in intervals if interval is not None]
    if not present:
        return None
    local = [interval for interval in present if not interval.everywhere] or present
    low, high = _add_dims(local[0].low, ndim), _add_dims(local[0].high, ndim)
    for interval in local[1:]:
        low = torch.minimum(low, _add_dims(interval.low, ndim))
        high = torch.maximum(high, _add_dims(interval.high, ndim))
    return PixelInterval(
        low,
        high,
        spacing=max(interval.spacing for interval in local),
        length=local[0].length,
        everywhere=all(interval.everywhere for interval in present),
        beyond=any(interval.beyond for interval in present),
    )


def combine_along(interval: PixelInterval | None, dims: Sequence[int]) -> PixelInterval | None:
    """The union of the intervals of all elements along `dims`, which keep the length 1."""
    if interval is None or not dims:
        return interval
    dims = [dim % interval.low.ndim for dim in dims]
    low, high = torch.amin(interval.low, dims, True), torch.amax(interval.high, dims, True)
    # Intervals move along positions, and only differ in size along channels. Positions are lost if
    # intervals that move are combined and all elements then see the same pixels of the image.
    middle = interval.low + interval.high
    moves = any(bool((middle.diff(dim=dim) != 0).any()) for dim in dims)
    inside = low.clamp(min=0), high.clamp(max=interval.length - 1)
    pixels = torch.stack(torch.broadcast_tensors(*inside))
    lost = moves and bool((pixels == pixels.flatten(1)[:, 0].view(-1, *[1] * low.ndim)).all())
    return replace(
        interval,
        low=low,
        high=high,
        everywhere=interval.everywhere or lost,
        beyond=interval.beyond or lost,
    )


def _add_dims(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape))


def drop_repetition(tensor: Tensor) -> Tensor:
    """The tensor with length 1 along each dimension in which it is constant."""
    for dim in range(tensor.ndim):
        if tensor.shape[dim] > 1:
            first = tensor.narrow(dim, 0, 1)
            if tensor.stride(dim) == 0 or bool((tensor == first).all()):
                tensor = first
    return tensor


def map_bounds(interval: PixelInterval, change: Callable[[Tensor], Tensor]) -> PixelInterval:
    """The interval with a function applied to its bounds."""
    return replace(interval, low=change(interval.low), high=change(interval.high))


def update_spacing(interval: PixelInterval, axis: int) -> PixelInterval:
    """The interval with the spacing of its positions, if they are evenly spaced."""
    if interval.low.ndim < 2 or interval.low.shape[axis] < 2:
        return interval
    spacings = torch.unique(interval.low.diff(dim=axis))
    return replace(interval, spacing=float(spacings[0])) if spacings.numel() == 1 else interval


def combine_everything(view: FieldView) -> list[PixelInterval | None]:
    """Rule of an operation that mixes all positions, or that has no rule of its own."""
    view.used.update(view.intervals)
    ndims = [interval.low.ndim for interval in view.intervals.values()]
    combined = [
        combine_along(interval, list(range(interval.low.ndim)))
        for interval in view.intervals.values()
    ]
    union = merge_intervals(combined, max(ndims, default=0))
    if union is None:
        return [None]
    low, high = union.low.amin(), union.high.amax()
    return [
        PixelInterval(
            low.reshape((1,) * len(view.shapes[node])),
            high.reshape((1,) * len(view.shapes[node])),
            union.spacing,
            union.length,
            everywhere=True,
            beyond=True,
        )
        for node in view.operation.outputs
    ]
