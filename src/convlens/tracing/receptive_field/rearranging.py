"""Receptive-field rules of operations that move, join or reinterpret elements."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convlens.tracing.interval import (
    FieldView,
    PixelInterval,
    combine_along,
    drop_repetition,
    map_bounds,
    merge_intervals,
    update_spacing,
)
from convlens.tracing.recording.recording import Operation


def move_elements(view: FieldView) -> list[PixelInterval | None]:
    """The operation only moves elements, so it is applied to the bounds of their intervals."""
    name = view.first_argument
    interval, shape = view.interval(name), view.shape(name)
    if interval is None:
        return [None]

    def move(tensor: Tensor) -> Sequence[Tensor]:
        moved = _rearrange(view.operation, tensor.expand(shape), view.output_shape)
        return [drop_repetition(part) for part in ([moved] if isinstance(moved, Tensor) else moved)]

    lows = move(interval.low)
    highs = lows if interval.high is interval.low else move(interval.high)
    return [
        update_spacing(replace(interval, low=low, high=high), view.axis)
        for low, high in zip(lows, highs, strict=True)
    ]


def _rearrange(operation: Operation, tensor: Tensor, output_shape: tuple[int, ...]) -> Any:
    """What an operation that only moves elements returns for another tensor of the same shape.

    Args:
        operation: such as `view` or `permute`.
        tensor: instead of its first argument.
        output_shape: shape of what it returns.
    """
    if operation.name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
        return tensor.reshape(output_shape)
    _, *others = operation.arguments.values()
    return operation.function(tensor, *others)


def concatenate(view: FieldView) -> list[PixelInterval | None]:
    """`cat` and `stack`: the intervals are concatenated as the tensors are."""
    refs = [ref for ref in view["tensors"] if view.shapes[ref.node] != (0,)]
    ndim = len(view.output_shape)
    dim = (view["dim"] or 0) % ndim
    intervals = [view.interval_of(ref.node) for ref in refs]
    sizes = [view.shapes[ref.node][dim] if view.operation.name == "cat" else 1 for ref in refs]
    if view.operation.name == "stack":
        intervals = [
            interval and map_bounds(interval, lambda tensor: tensor.unsqueeze(dim))
            for interval in intervals
        ]
    local = [interval for interval in intervals if interval is not None and not interval.everywhere]
    # What the parts have in common, from their first elements: along `dim` their lengths differ.
    merged = merge_intervals(
        [part and map_bounds(part, lambda bound: bound.narrow(dim, 0, 1)) for part in intervals],
        ndim,
    )
    if not local or merged is None:
        return [merged]
    # A part that does not depend on the image, or sees the same everywhere, has no positions. It
    # takes those of a local part.
    filler = combine_along(local[0], [dim])
    parts = [interval if interval in local else filler for interval in intervals]

    def join(tensors: list[Tensor]) -> Tensor:
        shape = list(torch.broadcast_shapes(*(t.narrow(dim, 0, 1).shape for t in tensors)))
        pieces = [
            tensor.expand(*shape[:dim], size, *shape[dim + 1 :])
            for tensor, size in zip(tensors, sizes, strict=True)
        ]
        # If all parts are equal, the result is constant along the dimension.
        equal = all(t.shape[dim] == 1 and torch.equal(t, tensors[0]) for t in tensors)
        return tensors[0] if equal else torch.cat(pieces, dim)

    low = join([part.low for part in parts if part is not None])
    high = join([part.high for part in parts if part is not None])
    return [update_spacing(replace(merged, low=low, high=high, everywhere=False), view.axis)]


def split_complex(view: FieldView) -> list[PixelInterval | None]:
    """`view_as_real`: the two parts of each number have its interval."""
    interval = view.interval("self")
    return [interval and map_bounds(interval, lambda bound: bound.unsqueeze(-1))]


def join_complex(view: FieldView) -> list[PixelInterval | None]:
    """`view_as_complex`: a number sees what its two parts see."""
    interval = combine_along(view.interval("self"), [-1])
    return [interval and map_bounds(interval, lambda bound: bound.squeeze(-1))]


def pixel_shuffle(view: FieldView) -> list[PixelInterval | None]:
    """`pixel_shuffle` and its inverse, applied to bounds as floats: they take no integers."""
    interval, shape = view.interval("self"), view.shape("self")
    if interval is None:
        return [None]

    def move(tensor: Tensor) -> Tensor:
        arguments = [value for value in view.operation.arguments.values() if value != view["self"]]
        return view.operation.function(tensor.expand(shape).double(), *arguments).long()

    return [update_spacing(map_bounds(interval, move), view.axis)]
