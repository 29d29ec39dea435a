"""Pixel intervals: what each element of a node sees along one axis, and how they combine."""

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
        everywhere: an operation has mixed all positions: all elements see the same.
        beyond: an operation that mixes all positions lies on the way, so that an element also
            depends on pixels outside its interval.
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
        seen: pixel interval of each input that depends on the image, by the node's index.
        axis: -2 for rows (y), -1 for columns (x).
        used: indices of the inputs that the rule has asked for. An input that a rule does not ask
            for counts as mixed into all outputs.
    """

    seen: dict[int, PixelInterval] = field(default_factory=dict)
    axis: int = -1
    used: set[int] = field(default_factory=set)

    def interval(self, name: str) -> PixelInterval | None:
        """The pixel interval of a tensor argument; None where it does not depend on the image."""
        ref = self[name]
        return self.interval_of(ref.node) if isinstance(ref, NodeRef) else None

    def interval_of(self, node: int) -> PixelInterval | None:
        """The pixel interval of an input by its index."""
        self.used.add(node)
        return self.seen.get(node)


FieldRule = Callable[[FieldView], list[PixelInterval | None]]


def merge_intervals(intervals: Sequence[PixelInterval | None], ndim: int) -> PixelInterval | None:
    """The union of intervals, element by element. Local ones go before those of everywhere."""
    present = [interval for interval in intervals if interval is not None]
    if not present:
        return None
    local = [interval for interval in present if not interval.everywhere] or present
    low, high = _ranked(local[0].low, ndim), _ranked(local[0].high, ndim)
    for interval in local[1:]:
        low = torch.minimum(low, _ranked(interval.low, ndim))
        high = torch.maximum(high, _ranked(interval.high, ndim))
    return PixelInterval(
        low,
        high,
        spacing=max(interval.spacing for interval in local),
        length=local[0].length,
        everywhere=all(interval.everywhere for interval in present),
        beyond=any(interval.beyond for interval in present),
    )


def combine_along(interval: PixelInterval | None, dims: Sequence[int]) -> PixelInterval | None:
    """The union over `dims`, which keep the length 1."""
    if interval is None or not dims:
        return interval
    dims = [dim % interval.low.ndim for dim in dims]
    low, high = torch.amin(interval.low, dims, True), torch.amax(interval.high, dims, True)
    # Intervals may differ in size along channels, and they move along positions. Positions are lost
    # where moving intervals are combined and all elements then see the same pixels of the image.
    middle = interval.low + interval.high
    moved = any(bool((middle.diff(dim=dim) != 0).any()) for dim in dims)
    inside = low.clamp(min=0), high.clamp(max=interval.length - 1)
    seen = torch.stack(torch.broadcast_tensors(*inside))
    lost = moved and bool((seen == seen.flatten(1)[:, 0].view(-1, *[1] * low.ndim)).all())
    return replace(
        interval,
        low=low,
        high=high,
        everywhere=interval.everywhere or lost,
        beyond=interval.beyond or lost,
    )


def _ranked(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape))


def drop_repetition(tensor: Tensor) -> Tensor:
    """The tensor with length 1 along dimensions in which nothing varies."""
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
    """The interval with the spacing that its positions have, where they are evenly spaced."""
    if interval.low.ndim < 2 or interval.low.shape[axis] < 2:
        return interval
    spacings = torch.unique(interval.low.diff(dim=axis))
    return replace(interval, spacing=float(spacings[0])) if spacings.numel() == 1 else interval


def combine_everything(view: FieldView) -> list[PixelInterval | None]:
    """Rule of an operation that mixes all positions, or that is not known."""
    view.used.update(view.seen)
    ndims = [interval.low.ndim for interval in view.seen.values()]
    merged = [combine_along(r, list(range(r.low.ndim))) for r in view.seen.values()]
    together = merge_intervals(merged, max(ndims, default=0))
    if together is None:
        return [None]
    low, high = together.low.amin(), together.high.amax()
    return [
        PixelInterval(
            low.reshape((1,) * len(view.shapes[node])),
            high.reshape((1,) * len(view.shapes[node])),
            together.spacing,
            together.length,
            everywhere=True,
            beyond=True,
        )
        for node in view.operation.outputs
    ]
