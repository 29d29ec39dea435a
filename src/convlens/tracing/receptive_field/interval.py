"""Reach: what each element of a node sees along one axis of the image, and how reaches combine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from convlens.tracing.recorder import NodeRef, Operation


@dataclass(frozen=True, eq=False)
class Reach:
    """What a node sees along one axis of the image.

    Attributes:
        low: int64, least pixel, broadcasting to the node's shape (same number of dimensions).
        high: likewise the greatest pixel.
        step: pixels between neighboring positions, to extrapolate into padding.
        length: pixels of the image.
        everywhere: no position is left; the same for all elements after a global operation.
        beyond: a global operation lies on the way, so that more than this is seen.
    """

    low: Tensor
    high: Tensor
    step: float
    length: int
    everywhere: bool = False
    beyond: bool = False


@dataclass(frozen=True, eq=False)
class OperationView:
    """One operation seen along one axis of the image (-2 for y, -1 for x)."""

    operation: Operation
    shapes: tuple[tuple[int, ...], ...]
    seen: dict[int, Reach]
    axis: int
    used: set[int] = field(default_factory=set)

    def __getitem__(self, name: str) -> Any:
        return self.operation.arguments.get(name)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.shapes[self.operation.outputs[0]]

    def reach(self, name: str) -> Reach | None:
        ref = self[name]
        return self.of(ref.node) if isinstance(ref, NodeRef) else None

    def of(self, node: int) -> Reach | None:
        """The reach of an input, which has then been taken into account."""
        self.used.add(node)
        return self.seen.get(node)

    def first(self) -> str:
        return next(iter(self.operation.arguments))

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[self[name].node]


Rule = Callable[[OperationView], list[Reach | None]]


def merge(reaches: Sequence[Reach | None], ndim: int) -> Reach | None:
    """Element by element: least low, greatest high. A local reach outweighs one from everywhere."""
    present = [reach for reach in reaches if reach is not None]
    if not present:
        return None
    local = [reach for reach in present if not reach.everywhere] or present
    low, high = _ranked(local[0].low, ndim), _ranked(local[0].high, ndim)
    for reach in local[1:]:
        low = torch.minimum(low, _ranked(reach.low, ndim))
        high = torch.maximum(high, _ranked(reach.high, ndim))
    return Reach(
        low,
        high,
        step=max(reach.step for reach in local),
        length=local[0].length,
        everywhere=all(reach.everywhere for reach in present),
        beyond=any(reach.beyond for reach in present),
    )


def over(reach: Reach | None, dims: Sequence[int]) -> Reach | None:
    """Combined along `dims`, which stay with length 1."""
    if reach is None or not dims:
        return reach
    dims = [dim % reach.low.ndim for dim in dims]
    low, high = torch.amin(reach.low, dims, True), torch.amax(reach.high, dims, True)
    # Along channels intervals may differ in size, along positions they move. A position is lost
    # where some that move are combined and all then see the same, whatever of the padding.
    middle = reach.low + reach.high
    moved = any(bool((middle.diff(dim=dim) != 0).any()) for dim in dims)
    inside = low.clamp(min=0), high.clamp(max=reach.length - 1)
    seen = torch.stack(torch.broadcast_tensors(*inside))
    lost = moved and bool((seen == seen.flatten(1)[:, 0].view(-1, *[1] * low.ndim)).all())
    return replace(
        reach,
        low=low,
        high=high,
        everywhere=reach.everywhere or lost,
        beyond=reach.beyond or lost,
    )


def _ranked(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape))


def thin(tensor: Tensor) -> Tensor:
    """Without repetition: dimensions along which nothing varies get length 1."""
    for dim in range(tensor.ndim):
        if tensor.shape[dim] > 1:
            first = tensor.narrow(dim, 0, 1)
            if tensor.stride(dim) == 0 or bool((tensor == first).all()):
                tensor = first
    return tensor


def each(reach: Reach, change: Callable[[Tensor], Tensor]) -> Reach:
    return replace(reach, low=change(reach.low), high=change(reach.high))


def restep(reach: Reach, axis: int) -> Reach:
    """With the step that even positions along the axis' own dimension show."""
    if reach.low.ndim < 2 or reach.low.shape[axis] < 2:
        return reach
    steps = torch.unique(reach.low.diff(dim=axis))
    return replace(reach, step=float(steps[0])) if steps.numel() == 1 else reach


def mix_all(step: OperationView) -> list[Reach | None]:
    """Everything of everything: the widest that the operation can do, whatever it is."""
    step.used.update(step.seen)
    ndims = [reach.low.ndim for reach in step.seen.values()]
    merged = [over(r, list(range(r.low.ndim))) for r in step.seen.values()]
    together = merge(merged, max(ndims, default=0))
    if together is None:
        return [None]
    low, high = together.low.amin(), together.high.amax()
    return [
        Reach(
            low.reshape((1,) * len(step.shapes[node])),
            high.reshape((1,) * len(step.shapes[node])),
            together.step,
            together.length,
            everywhere=True,
            beyond=True,
        )
        for node in step.operation.outputs
    ]
