"""Pixel intervals: the pixels that each element of a node sees along one axis, and their union."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from convlens.tracing.operation_view import OperationView
from convlens.tracing.recording.known_values import KnownValues
from convlens.tracing.recording.recording import NodeRef, Operation

IMAGES = 0  # the dimension of a batch `(N, C, H, W)` along which its images lie


@dataclass(frozen=True, eq=False)
class PixelInterval:
    """For each element of a node, the pixels that it sees along one axis of the image.

    Attributes:
        low: int64, the first pixel. It broadcasts to the node's shape and has as many dimensions.
        high: the last pixel, in the same form.
        spacing: pixels between neighboring positions, used to continue into the padding.
        length: number of pixels of the image along the axis.
        everywhere: whether an operation has mixed all positions, so that all elements see the same:
            the union of the given bounds.
        sees_whole_image: whether an element also depends on pixels outside its interval, because
            an operation on the way mixes all positions.
        nearest: whether it is the interval on the most local path to an element instead of the
            union of all paths: it tells where the element lies even if it sees the whole image.
    """

    low: Tensor
    high: Tensor
    spacing: float
    length: int
    everywhere: bool = False
    sees_whole_image: bool = False
    nearest: bool = False

    def __post_init__(self) -> None:
        if self.everywhere and (self.low.numel() > 1 or self.high.numel() > 1):
            dims = tuple(range(self.low.ndim))
            object.__setattr__(self, "low", self.low.amin(dims, keepdim=True))
            object.__setattr__(self, "high", self.high.amax(dims, keepdim=True))


@dataclass(frozen=True, eq=False)
class FieldView(OperationView):
    """One operation, with the pixel intervals of its inputs along one axis of the image.

    Attributes:
        intervals: pixel interval of each input that depends on the image, by the node's index.
        axis: -2 for rows (y), -1 for columns (x), `IMAGES` for the images of a batch.
        used: indices of the inputs whose interval the rule has read. An input that it does not read
            counts as mixed into all outputs.
        known_values: values of nodes that do not depend on the image.
        producers: the operation that returns each node, by the node's index.
    """

    intervals: dict[int, PixelInterval] = field(default_factory=dict)
    axis: int = -1
    used: set[int] = field(default_factory=set)
    known_values: KnownValues | None = None
    producers: Mapping[int, Operation] = field(default_factory=dict)

    def interval(self, name: str) -> PixelInterval | None:
        """The pixel interval of a tensor argument; None where it does not depend on the image."""
        ref = self[name]
        return self.interval_of(ref.node) if isinstance(ref, NodeRef) else None

    def interval_of(self, node: int) -> PixelInterval | None:
        """The pixel interval of an input by its index."""
        self.used.add(node)
        return self.intervals.get(node)

    def known_value(self, node: int) -> Tensor | None:
        """The value of an input; None if it is not known, as for one that depends on the image."""
        if node in self.intervals or self.known_values is None:
            return None
        return self.known_values.value(node)


FieldRule = Callable[[FieldView], list[PixelInterval | None]]


def merge_intervals(intervals: Sequence[PixelInterval | None], ndim: int) -> PixelInterval | None:
    """The union of intervals, element by element; for `nearest` ones the narrowest.

    Where some are local and others the same everywhere, it is the union of the local ones.
    """
    present = [interval for interval in intervals if interval is not None]
    if not present:
        return None
    local = [interval for interval in present if not interval.everywhere] or present
    nearest = any(interval.nearest for interval in present)
    low, high = _add_dims(local[0].low, ndim), _add_dims(local[0].high, ndim)
    for interval in local[1:]:
        other_low, other_high = _add_dims(interval.low, ndim), _add_dims(interval.high, ndim)
        if nearest:
            narrower = other_high - other_low < high - low
            low = torch.where(narrower, other_low, low)
            high = torch.where(narrower, other_high, high)
        else:
            low, high = torch.minimum(low, other_low), torch.maximum(high, other_high)
    return PixelInterval(
        low,
        high,
        spacing=max(interval.spacing for interval in local),
        length=local[0].length,
        everywhere=all(interval.everywhere for interval in present),
        sees_whole_image=any(interval.sees_whole_image for interval in present),
        nearest=nearest,
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
        sees_whole_image=interval.sees_whole_image or lost,
    )


def forget_field(interval: PixelInterval) -> PixelInterval:
    """The interval of elements of which each sees the whole axis, but which keep their order.

    On the most local path they lie where they were.
    """
    if interval.nearest or interval.everywhere:
        return interval
    shape = [1] * interval.low.ndim
    return replace(
        interval,
        low=torch.zeros(shape, dtype=torch.int64),
        high=torch.full(shape, interval.length - 1, dtype=torch.int64),
        sees_whole_image=True,
    )


def _add_dims(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape))


def drop_repetition(tensor: Tensor) -> Tensor:
    """The tensor with length 1 along each dimension in which it is constant."""
    for dim in range(tensor.ndim):
        if tensor.shape[dim] > 1:
            first = tensor.narrow(dim, 0, 1)
            if tensor.stride(dim) == 0 or (
                # In a large tensor that is not constant, two of its slices show this already.
                bool((tensor.narrow(dim, -1, 1) == first).all()) and bool((tensor == first).all())
            ):
                tensor = first
    return tensor


def map_bounds(interval: PixelInterval, change: Callable[[Tensor], Tensor]) -> PixelInterval:
    """The interval with a function applied to its bounds."""
    low = change(interval.low)
    return replace(
        interval, low=low, high=low if interval.high is interval.low else change(interval.high)
    )


def position_dim(interval: PixelInterval, axis: int) -> int:
    """The dimension, counted from the end, along which an interval moves.

    It is the image's own axis unless the network has swapped dimensions.
    """
    ndim = interval.low.ndim
    moving = [dim for dim in range(-ndim, 0) if interval.low.shape[dim] > 1]
    return moving[0] if len(moving) == 1 else axis


def update_spacing(interval: PixelInterval, axis: int) -> PixelInterval:
    """The interval with the spacing of its positions, if they are evenly spaced."""
    dim = position_dim(interval, axis)
    if interval.low.ndim < 2 or interval.low.shape[dim] < 2:
        return interval
    spacings = interval.low.diff(dim=dim)
    first = spacings.flatten()[:1]
    is_even = first.numel() and bool((spacings == first).all())
    return replace(interval, spacing=float(first)) if is_even else interval


def image_dim(interval: PixelInterval, shape: tuple[int, ...]) -> int | None:
    """The dimension that holds one image at each position, in their order; None without one.

    Args:
        interval: of a node along the images of a batch.
        shape: of the node.
    """
    moving = [dim for dim in range(interval.low.ndim) if interval.low.shape[dim] > 1]
    if interval.low.ndim != len(shape) or len(moving) != 1 or shape[moving[0]] != interval.length:
        return None
    images = torch.arange(interval.length)
    in_order = all(torch.equal(b.flatten(), images) for b in (interval.low, interval.high))
    return moving[0] if in_order else None


def combine_everything(view: FieldView) -> list[PixelInterval | None]:
    """Rule of an operation that mixes all positions, or that has no rule of its own.

    It is assumed to keep images apart if all its inputs have them along the same dimension.
    """
    view.used.update(view.intervals)
    image_dims = {
        image_dim(interval, view.shapes[node]) if view.axis == IMAGES else None
        for node, interval in view.intervals.items()
    }
    ndims = [interval.low.ndim for interval in view.intervals.values()]
    combined = [
        combine_along(interval, list(range(interval.low.ndim)))
        for interval in view.intervals.values()
    ]
    union = merge_intervals(combined, max(ndims, default=0))
    if union is None:
        return [None]
    shared_dim = image_dims.pop() if len(image_dims) == 1 else None
    return [_same_for_all(union, view.shapes[node], shared_dim) for node in view.operation.outputs]


def _same_for_all(
    union: PixelInterval, shape: tuple[int, ...], image_dim: int | None
) -> PixelInterval:
    """The union for every element of an output, or for each image along a dimension."""
    bound_shape = [1] * len(shape)
    if image_dim is not None and image_dim < len(shape) and shape[image_dim] == union.length:
        bound_shape[image_dim] = union.length
        images = torch.arange(union.length).view(bound_shape)
        return replace(union, low=images, high=images, everywhere=False, sees_whole_image=False)
    low, high = (bound.reshape(bound_shape) for bound in (union.low.amin(), union.high.amax()))
    return replace(union, low=low, high=high, everywhere=True, sees_whole_image=True)
