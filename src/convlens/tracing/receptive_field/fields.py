"""Receptive fields: for each element of a node, the interval of image pixels that it can see.

The two axes of the image (y and x) are computed separately. Along an axis, the pixel interval of a
node is a pair of integer tensors, first and last pixel, that broadcast to the node's shape. Each
element therefore has its own interval, also after a reshape, a permutation, a cut into windows or a
concatenation. An operation that only moves elements is applied to the two tensors as it is. An
operation that combines elements takes the minimum of the first and the maximum of the last pixels.
Pixels outside the image are padding.

An operation that combines all positions (global pooling, attention, a fully connected stage) makes
the interval the same everywhere. Where its output is combined with a node that still has positions
(squeeze-and-excite, a residual connection around attention), the local field is kept and marked.
An operation without a rule counts as one that combines everything.

An operation that lets each element see a whole axis but keeps their order (a recurrent layer,
sampling at computed positions) gives all elements the interval of the axis. What follows is still
a map, with a global field.

`windows.py` computes the receptive field of a convolution and of other sliding windows, `rules.py`
lists the rule of each operation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.tracing.dimensions import Axes
from convlens.tracing.interval import (
    IMAGES,
    FieldRule,
    FieldView,
    PixelInterval,
    combine_everything,
    drop_repetition,
    map_bounds,
)
from convlens.tracing.receptive_field.rules import find_rule
from convlens.tracing.recording.known_values import KnownValues
from convlens.tracing.recording.recording import Operation, Recording
from convlens.tracing.registry import registered_field_rule


@dataclass(frozen=True, eq=False)
class Field:
    """Receptive field of each position of a spatial node `(N, C, h, w)`.

    Attributes:
        low: first image row that each of the h positions can see, int64 `(h,)`, and first column
            that each of the w positions can see, `(w,)`. Both may lie in the padding (negative, or
            outside the image).
        high: last row and last column that they can see, in the same form.
        sees_whole_image: whether a global operation makes the node depend on all of the image.
    """

    low: tuple[Tensor, Tensor]
    high: tuple[Tensor, Tensor]
    sees_whole_image: bool

    @cached_property
    def size(self) -> tuple[int | None, int | None]:
        """Rows and columns that a position can see; None where positions differ."""
        return self._constant(lambda axis: self.high[axis] - self.low[axis] + 1)

    @cached_property
    def stride(self) -> tuple[int | None, int | None]:
        """Pixels between the fields of neighbors; None if they are uneven, 0, or one only."""
        y, x = self._constant(lambda axis: self.low[axis].diff())
        return y or None, x or None

    @property
    def offset(self) -> tuple[int, int]:
        """First row and column that position (0, 0) can see."""
        return int(self.low[0][0]), int(self.low[1][0])

    @property
    def centers(self) -> tuple[Tensor, Tensor]:
        """Center of each field in pixels: float64 `(h,)` and `(w,)`."""
        y, x = ((self.low[axis] + self.high[axis]).double() / 2 for axis in (0, 1))
        return y, x

    def _constant(self, values_along: Callable[[int], Tensor]) -> tuple[int | None, int | None]:
        """The value along each axis; None where it varies."""
        distinct = [torch.unique(values_along(axis)).tolist() for axis in (0, 1)]
        y, x = (values[0] if len(values) == 1 else None for values in distinct)
        return y, x


def pixel_intervals(
    recording: Recording, *, nearest: bool = False
) -> tuple[dict[int, Axes], dict[int, str]]:
    """Compute the pixel intervals of all nodes, operation by operation.

    Args:
        recording: of the network.
        nearest: follow the most local path to each element instead of all paths. Default: False.

    Returns:
        The intervals (y, x) of each node that depends on the image, by the node's index; and the
        operation's name for each node that an operation without a rule returns.
    """
    intervals = {0: _intervals_of_map(recording.shapes[0], (-2, -1), nearest=nearest)}
    unknown = follow_intervals(recording, recording.operations, intervals, (-2, -1))
    return {node: (y, x) for node, (y, x) in intervals.items()}, unknown


def image_intervals(recording: Recording) -> dict[int, PixelInterval]:
    """Compute, for each element of a node, from which images of the batch it is computed.

    Returns:
        The first and the last image for each node that depends on the images, in the form of a
        pixel interval, by the node's index.
    """
    intervals = {0: _intervals_of_map(recording.shapes[0], (IMAGES,))}
    follow_intervals(recording, recording.operations, intervals, (IMAGES,))
    return {node: along_images for node, (along_images,) in intervals.items()}


def find_padding(
    recording: Recording, operations: Sequence[Operation], source: int, padded: int
) -> tuple[int, int, int, int] | None:
    """The rows and columns that operations add around a map, by any kind of padding.

    Zeros, constants, reflection, replication and circular padding are found alike: by where the
    rows and columns of the map lie in the padded one.

    Args:
        recording: of the network.
        operations: what is done to the map.
        source: index of the map `(N, C, h, w)`.
        padded: index of the padded map.

    Returns:
        Rows added before and after, columns added before and after; None if the operations do
        something else than to pad the map.
    """
    shape, padded_shape = recording.shapes[source], recording.shapes[padded]
    if len(shape) != 4 or len(padded_shape) != 4:
        return None
    intervals = {source: _intervals_of_map(shape, (-2, -1))}
    follow_intervals(recording, operations, intervals, (-2, -1))
    if padded not in intervals:
        return None
    added: list[int] = []
    for interval, dim in zip(intervals[padded], (2, 3), strict=True):
        length, padded_length = shape[dim], padded_shape[dim]
        rows = _reduce_to_dim(interval.low, dim, torch.amin).expand(padded_length)
        starts = [
            start for start in range(padded_length - length + 1)
            if torch.equal(rows[start : start + length], torch.arange(length))
        ]  # fmt: skip
        if not starts:
            return None
        before = starts[len(starts) // 2]  # circular padding may repeat the whole map
        added += [before, padded_length - length - before]
    return added[0], added[1], added[2], added[3]


def follow_intervals(
    recording: Recording,
    operations: Sequence[Operation],
    intervals: dict[int, tuple[PixelInterval, ...]],
    axes: tuple[int, ...],
) -> dict[int, str]:
    """Add the intervals along some axes of all nodes that operations compute from known ones.

    Returns:
        The operation's name for each node that an operation without a rule returns.
    """
    unknown: dict[int, str] = {}
    producers = {node: step for step in recording.operations for node in step.outputs}
    known_values = KnownValues(recording, producers)
    for operation in operations:
        if not any(node in intervals for node in operation.inputs):
            continue
        rule = find_rule(operation)
        if rule is None:
            unknown.update(dict.fromkeys(operation.outputs, operation.name))
        if axes == (IMAGES,) and registered_field_rule(operation) is not None:
            rule = None  # a user's rule is of rows and columns
        results = []
        for index, axis in enumerate(axes):
            input_intervals = {
                node: intervals[node][index] for node in operation.inputs if node in intervals
            }
            view = FieldView(
                operation, recording.shapes, input_intervals, axis, set(), known_values, producers
            )
            results.append(_apply_rule(rule or combine_everything, view))
        for index, node in enumerate(operation.outputs):
            # A rule may return one interval for all outputs of an operation.
            along_axes = [result[min(index, len(result) - 1)] for result in results]
            node_intervals = tuple(interval for interval in along_axes if interval is not None)
            if len(node_intervals) == len(axes) and 0 not in recording.shapes[node]:
                intervals[node] = node_intervals
    return unknown


def _apply_rule(rule: FieldRule, view: FieldView) -> list[PixelInterval | None]:
    """Apply a rule; mark its result if the image enters by an argument that the rule ignored."""
    returned = rule(view)
    if registered_field_rule(view.operation) is rule:
        _check_returned(returned, view)
    results = [interval and map_bounds(interval, drop_repetition) for interval in returned]
    if view.intervals.keys() <= view.used:
        return results
    if None in results:
        return combine_everything(view)
    return [interval and replace(interval, sees_whole_image=True) for interval in results]


def _check_returned(returned: list[PixelInterval | None], view: FieldView) -> None:
    """Check what a user's rule returned.

    Raises:
        ConvlensError: it is not a list of intervals, or an interval does not fit its output.
    """
    name, outputs = view.operation.qualified_name, view.operation.outputs
    if not isinstance(returned, list) or len(returned) not in (1, len(outputs)):
        raise ConvlensError(
            f"the receptive-field rule of {name} returned {type(returned).__name__}; return a list "
            f"with one interval (or None) for each of {len(outputs)} outputs, or one for all"
        )
    for interval, node in zip(returned, outputs, strict=False):
        if interval is None:
            continue
        if not isinstance(interval, PixelInterval):
            raise ConvlensError(
                f"the receptive-field rule of {name} returned {interval!r}; return PixelInterval"
            )
        shape = view.shapes[node]
        for bound in (interval.low, interval.high):
            fits = bound.ndim == len(shape) and all(
                length in (1, size) for length, size in zip(bound.shape, shape, strict=True)
            )
            if not fits or bound.dtype != torch.int64:
                raise ConvlensError(
                    f"the receptive-field rule of {name} returned bounds {tuple(bound.shape)} of "
                    f"{bound.dtype} for an output {shape}; return int64 that broadcasts to it"
                )


def field_of(intervals: Axes, shape: tuple[int, ...], dims: tuple[int, int]) -> Field:
    """The receptive field of each position of a node with rows and columns along `dims`.

    Where channels have different fields (a concatenation of branches), the field is their union.
    """
    low, high = [], []
    for interval, dim in zip(intervals, dims, strict=True):
        low.append(_reduce_to_dim(interval.low, dim, torch.amin).expand(shape[dim]))
        high.append(_reduce_to_dim(interval.high, dim, torch.amax).expand(shape[dim]))
    return Field(
        (low[0], low[1]),
        (high[0], high[1]),
        any(interval.sees_whole_image for interval in intervals),
    )


def _reduce_to_dim(bound: Tensor, dim: int, reduce: Callable[..., Tensor]) -> Tensor:
    others = [other for other in range(bound.ndim) if other != dim]
    return reduce(bound, dim=others) if others else bound


def _intervals_of_map(
    shape: tuple[int, ...], axes: tuple[int, ...], *, nearest: bool = False
) -> tuple[PixelInterval, ...]:
    return tuple(replace(_interval_of_image(shape, axis), nearest=nearest) for axis in axes)


def _interval_of_image(shape: tuple[int, ...], axis: int) -> PixelInterval:
    broadcast_shape = [1] * len(shape)
    broadcast_shape[axis] = shape[axis]
    pixels = torch.arange(shape[axis]).view(broadcast_shape)
    return PixelInterval(pixels, pixels, spacing=1.0, length=shape[axis])
