"""The dimensions of a node along which the rows and the columns of the image lie.

They follow from how the node depends on the image: rows are the dimension along which the pixel
interval in y moves, columns the one along which that in x moves. A network may permute dimensions,
swap rows and columns, or merge them with others; the position of a dimension says nothing.
"""

from collections.abc import Callable
from itertools import permutations

from torch import Tensor

from convlens.tracing.interval import PixelInterval

Axes = tuple[PixelInterval, PixelInterval]  # along y and x of the image
MapDims = tuple[int, int]  # dimensions of the rows and of the columns

# The usual layouts first: where a length is 1, several orders describe the node equally well.
_ORDERS: tuple[MapDims, ...] = ((2, 3), (1, 2))
_CANDIDATES = dict.fromkeys((*_ORDERS, *permutations((1, 2, 3), 2)))


def find_map_dims(
    intervals: Axes, shape: tuple[int, ...], nearest: Callable[[], Axes]
) -> MapDims | None:
    """The dimensions of rows and columns, or None for a node that is not a feature map.

    In a feature map `(N, C, h, w)`, in any order of the last three, every row has its own interval
    in y and every column its own in x. Channels may differ (a concatenation of branches, pixels
    that were moved to channels), but by less than rows and columns do.

    Args:
        intervals: pixel intervals of the node in y and x.
        shape: of the node, images first.
        nearest: computes the intervals on the most local path; called where `intervals` do not
            tell positions apart because the elements see the whole image.
    """
    if len(shape) != 4 or all(interval.everywhere for interval in intervals):
        return None
    possible = [dims for dims in _CANDIDATES if _may_be_map(intervals, dims, shape)]
    clear = (dims for dims in possible if _is_map(intervals, dims, shape))
    dims = next(clear, None)
    if dims is None and possible:
        dims = next((dims for dims in possible if _is_map(nearest(), dims, shape)), None)
    return dims


def channels_first(tensor: Tensor, dims: MapDims | None) -> Tensor:
    """A tensor `(..., a, b, c)` with rows and columns along `dims` as `(..., C, h, w)`."""
    if dims is None or dims == (2, 3):
        return tensor
    rows, columns = dims
    order = (6 - rows - columns, rows, columns)
    leading = tensor.ndim - 4
    return tensor.permute(*range(leading + 1), *(leading + dim for dim in order))


def _may_be_map(intervals: Axes, dims: MapDims, shape: tuple[int, ...]) -> bool:
    """Whether intervals do not contradict rows and columns along the given dimensions."""
    if max(shape[dim] for dim in dims) == 1:
        return False
    channels = 6 - sum(dims)
    moving = [_moving_dims(interval) for interval in intervals]
    return all(
        not axis_moving or (dim in axis_moving and axis_moving <= {dim, channels})
        for axis_moving, dim in zip(moving, dims, strict=True)
    )


def _is_map(intervals: Axes, dims: MapDims, shape: tuple[int, ...]) -> bool:
    """Whether intervals move along the given dimensions, and only less along the channels."""
    if not _may_be_map(intervals, dims, shape):
        return False
    channels = 6 - sum(dims)
    for interval, dim in zip(intervals, dims, strict=True):
        moving = _moving_dims(interval)
        if dim not in moving and shape[dim] > 1:
            return False
        if channels in moving and _movement(interval, channels) >= _movement(interval, dim):
            return False
    return True


def _moving_dims(interval: PixelInterval) -> set[int]:
    """The dimensions along which the interval is not constant."""
    return {
        dim for dim in range(interval.low.ndim)
        if max(interval.low.shape[dim], interval.high.shape[dim]) > 1
    }  # fmt: skip


def _movement(interval: PixelInterval, dim: int) -> int:
    """The largest distance, along a dimension, between the middles of two intervals."""
    middle = interval.low + interval.high
    return int((middle.amax(dim) - middle.amin(dim)).max())
