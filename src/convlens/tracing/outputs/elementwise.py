"""Operations that compute each element of a map from the element at its own position alone.

An activation may be written with operations that move elements (`flatten`, `chunk` and `cat`) or
combine a few of them (`stack([x, zeros]).amax(0)`, an `einsum` that multiplies a gate). Whether
the whole is a pointwise function does not follow from the names of the operations. It follows
from their receptive fields: each element of the input is given its number, and the operations
must lead from each number to the same position of the output, and to no other.
"""

import math
from collections.abc import Collection, Sequence

import torch

from convlens.tracing.interval import PixelInterval
from convlens.tracing.receptive_field.fields import follow_intervals
from convlens.tracing.receptive_field.rules import REARRANGING, find_rule, pointwise
from convlens.tracing.recording.recording import Operation, Recording
from convlens.tracing.registry import registered_field_rule

# They move elements of their first input; with indices of the image, they read a table.
LOOKUPS = frozenset({"index", "index_select", "gather", "embedding"})
# They put several tensors together, each at its own elements.
JOINING = frozenset({
    "cat", "stack", "copy", "write_through", "index_put", "scatter", "index_copy",
})  # fmt: skip
# They move elements, also into and out of the real and the imaginary part of complex numbers.
MOVING = LOOKUPS | JOINING | {
    *REARRANGING, "complex", "view_as_real", "view_as_complex", "as_strided", "pixel_shuffle",
    "pixel_unshuffle",
}  # fmt: skip
_BY_ELEMENT = frozenset({"bucketize"})  # pointwise, with a table as the second argument
# They add the elements along a dimension, or along several.
ADDING = frozenset({"sum", "mean", "nansum"})
_COMBINING = ADDING | {
    "amax", "amin", "max", "min", "prod", "logsumexp", "norm", "linalg_vector_norm", "median",
    "nanmedian", "sort", "topk", "kthvalue", "cumsum", "cumprod", "cummax", "cummin", "_softmax",
    "_log_softmax", "glu",
}  # fmt: skip
PRODUCTS = frozenset({"mm", "bmm", "baddbmm", "addmm"})
# Operations that combine more elements are not followed: an activation needs only a few, and the
# channels or the positions of a map are more.
_MAX_COMBINED = 8


def may_be_step(operation: Operation, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether an operation may be a step of a pointwise function.

    Args:
        operation: the operation.
        shapes: shape of each node, by its index.
    """
    rule = find_rule(operation)
    if rule is None or rule is pointwise:
        return rule is pointwise
    if registered_field_rule(operation) is rule:
        return False  # a user's rule is of rows and columns
    if operation.name in PRODUCTS:
        left = operation.arguments.get("mat1", operation.arguments.get("batch1"))
        left = left or operation.arguments["self"]
        return shapes[left.node][-1] <= _MAX_COMBINED
    if operation.name in _COMBINING:
        return _count_combined(operation, shapes[operation.inputs[0]]) <= _MAX_COMBINED
    return operation.name in MOVING | _BY_ELEMENT


def _count_combined(operation: Operation, shape: tuple[int, ...]) -> int:
    """The number of elements that each output of a reduction, or of a similar operation, reads."""
    if operation.name == "glu":
        return 2  # one of each half
    dims = operation.arguments.get("dim")
    if dims is None or dims == []:
        if operation.name in ("sort", "topk", "kthvalue"):
            dims = -1
        else:
            return math.prod(shape)
    return math.prod(shape[dim] for dim in ([dims] if isinstance(dims, int) else dims) if shape)


def is_elementwise(
    recording: Recording, operations: Sequence[Operation], entries: Collection[int], output: int
) -> bool:
    """Whether operations compute each element of a node from the same element of other ones.

    Args:
        recording: of the network.
        operations: all operations between the nodes, in the order of execution.
        entries: indices of the nodes that they read, of the same shape.
        output: index of the node that they compute, of that shape, too.
    """
    shape = recording.shapes[output]
    numbers = torch.arange(math.prod(shape), device="cpu").view(shape)
    interval = PixelInterval(numbers, numbers, spacing=1.0, length=numbers.numel())
    intervals: dict[int, tuple[PixelInterval, ...]] = dict.fromkeys(entries, (interval,))
    follow_intervals(recording, operations, intervals, (-1,))
    if output not in intervals:
        return False
    (reached,) = intervals[output]
    return not reached.sees_whole_image and all(
        bound.shape == numbers.shape and torch.equal(bound, numbers)
        for bound in (reached.low, reached.high)
    )
