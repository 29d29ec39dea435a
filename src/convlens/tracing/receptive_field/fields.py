"""Receptive fields: for each element of a node, the interval of image pixels that it can see.

An axis of the image (y or x) is followed on its own. The interval of a node along it is a pair of
integer tensors, least and greatest pixel, that broadcast to the node's shape: an element's own
interval, whatever was reshaped, permuted, cut into windows or concatenated on the way. Operations
that only move elements are applied to these tensors as they are; those that combine elements take
the least and the greatest over what they combine. Pixels outside the image are padding.

Operations that combine all positions (global pooling, attention, a fully connected stage) make a
interval the same everywhere; where such a node then meets one that still has positions
(squeeze-and-excite, a residual around attention), the local field is kept and marked. An operation
that is not known here counts as one that combines everything.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.tracing.interval import (
    FieldRule,
    FieldView,
    PixelInterval,
    combine_everything,
    drop_repetition,
    map_bounds,
)
from convlens.tracing.receptive_field.rules import rule_of
from convlens.tracing.recording import Recording
from convlens.tracing.registry import registered_field_rule

Axes = tuple[PixelInterval, PixelInterval]  # along y and x


@dataclass(frozen=True, eq=False)
class Field:
    """Receptive field of each position of a spatial node `(N, C, h, w)`.

    Attributes:
        low: first image row that each of the h positions can see, and first column of the w;
            int64, may lie in the padding (negative, or beyond the image).
        high: likewise the last row and column.
        beyond: the node also depends on the whole image, through a global operation.
    """

    low: tuple[Tensor, Tensor]
    high: tuple[Tensor, Tensor]
    beyond: bool

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Rows and columns seen by a position; None where it differs between positions."""
        return self._constant(lambda axis: self.high[axis] - self.low[axis] + 1)

    @property
    def stride(self) -> tuple[int | None, int | None]:
        """Pixels between the fields of neighbors; None where uneven or with one position."""
        return self._constant(lambda axis: self.low[axis].diff())

    @property
    def offset(self) -> tuple[int, int]:
        """First row and column that position (0, 0) can see."""
        return int(self.low[0][0]), int(self.low[1][0])

    @property
    def centers(self) -> tuple[Tensor, Tensor]:
        """Middle of each field in pixels: float64 `(h,)` and `(w,)`."""
        y, x = ((self.low[axis] + self.high[axis]).double() / 2 for axis in (0, 1))
        return y, x

    def _constant(self, of: Callable[[int], Tensor]) -> tuple[int | None, int | None]:
        found = [torch.unique(of(axis)).tolist() for axis in (0, 1)]
        y, x = (values[0] if len(values) == 1 else None for values in found)
        return y, x


def pixel_intervals(recording: Recording) -> tuple[dict[int, Axes], dict[int, str]]:
    """Follow the image's pixels through all recorded operations.

    Returns:
        The interval (y, x) of each node that depends on the image, and for each node that an
        unknown operation made (or that was written through a view in a way that cannot be
        followed) the name of that operation.
    """
    shape = recording.shapes[0]
    intervals: dict[int, Axes] = {0: (_image(shape, -2), _image(shape, -1))}
    unknown: dict[int, str] = {}
    for operation in recording.operations:
        if not any(node in intervals for node in operation.inputs):
            continue
        rule = rule_of(operation)
        if rule is None:
            unknown.update(dict.fromkeys(operation.outputs, operation.name))
        axes = []
        for axis in (-2, -1):
            seen = {node: intervals[node][axis] for node in operation.inputs if node in intervals}
            view = FieldView(operation, recording.shapes, seen, axis)
            axes.append(_apply(rule or combine_everything, view))
        for index, node in enumerate(operation.outputs):
            # Operations that give several tensors of one kind have one rule for all.
            y, x = (results[min(index, len(results) - 1)] for results in axes)
            if y is not None and x is not None and 0 not in recording.shapes[node]:
                intervals[node] = (y, x)
    return intervals, unknown


def _apply(rule: FieldRule, view: FieldView) -> list[PixelInterval | None]:
    """A rule's result, marked where the image enters through an argument that the rule ignored."""
    returned = rule(view)
    if registered_field_rule(view.operation) is rule:
        _check_returned(returned, view)
    results = [interval and map_bounds(interval, drop_repetition) for interval in returned]
    if view.seen.keys() <= view.used:
        return results
    if None in results:
        return combine_everything(view)
    return [interval and replace(interval, beyond=True) for interval in results]


def _check_returned(returned: list[PixelInterval | None], view: FieldView) -> None:
    """Check what a user's rule returned.

    Raises:
        ConvlensError: it is no list of intervals, or one that does not fit the output's shape.
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
                have in (1, want) for have, want in zip(bound.shape, shape, strict=True)
            )
            if not fits or bound.dtype != torch.int64:
                raise ConvlensError(
                    f"the receptive-field rule of {name} returned bounds {tuple(bound.shape)} of "
                    f"{bound.dtype} for an output {shape}; return int64 that broadcasts to it"
                )


def field_of(intervals: Axes, shape: tuple[int, ...], dims: tuple[int, int]) -> Field:
    """The field of each position of a node whose rows and columns lie along `dims`.

    Channels that see differently (a concatenation of branches) are merged by the least low and
    the greatest high.
    """
    low, high = [], []
    for interval, dim in zip(intervals, dims, strict=True):
        low.append(_along(interval.low, dim, torch.amin).expand(shape[dim]))
        high.append(_along(interval.high, dim, torch.amax).expand(shape[dim]))
    return Field(
        (low[0], low[1]), (high[0], high[1]), any(interval.beyond for interval in intervals)
    )


def _along(bound: Tensor, dim: int, reduce: Callable[..., Tensor]) -> Tensor:
    others = [other for other in range(bound.ndim) if other != dim]
    return reduce(bound, dim=others) if others else bound


def _image(shape: tuple[int, ...], axis: int) -> PixelInterval:
    along = [1] * len(shape)
    along[axis] = shape[axis]
    pixels = torch.arange(shape[axis]).view(along)
    return PixelInterval(pixels, pixels, spacing=1.0, length=shape[axis])
