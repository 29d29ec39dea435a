"""Rearrangements that are undone: a ReLU between `flatten` and `view_as` is a ReLU of the map."""

import math
from collections.abc import Container, Iterable, Sequence

import torch

from convlens.tracing.receptive_field.rules import rearrange
from convlens.tracing.recording.recording import Operation

_LAYOUT = frozenset({
    "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "unsqueeze",
    "squeeze",
})  # fmt: skip
_COPIES = frozenset({"clone", "contiguous"})
REARRANGEMENTS = _LAYOUT | _COPIES


def find_undone(
    before: Sequence[Operation],
    after: Sequence[Operation],
    shapes: Sequence[tuple[int, ...]],
    named: Container[int],
) -> tuple[Sequence[Operation], Sequence[Operation]] | None:
    """The most rearrangements around a pointwise function that together leave elements in place.

    Args:
        before: the rearrangements before the function, the last one first.
        after: those after it, the first one first.
        shapes: shape of each node, by its index.
        named: the nodes that a run can be stopped at; the first and the last node are two of them.

    Returns:
        Those among `before` and `after`; None if there are none.
    """
    for start in range(len(before), 0, -1):
        entry = before[start - 1].inputs[0]
        for end in range(len(after), 0, -1):
            output = after[end - 1].outputs[0]
            if (
                entry in named
                and output in named
                and shapes[entry] == shapes[output]
                and _leaves_in_place([*reversed(before[:start]), *after[:end]], shapes)
            ):
                return before[:start], after[:end]
    return None


def _leaves_in_place(operations: Iterable[Operation], shapes: Sequence[tuple[int, ...]]) -> bool:
    elements = None
    for operation in operations:
        if elements is None:
            shape = shapes[operation.inputs[0]]
            elements = torch.arange(math.prod(shape), device="cpu").view(shape)
        if operation.name in _LAYOUT:
            elements = rearrange(operation, elements, shapes[operation.outputs[0]])
    return elements is not None and torch.equal(
        elements.flatten(), torch.arange(elements.numel(), device="cpu")
    )
