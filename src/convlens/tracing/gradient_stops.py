"""Operations through which no gradient passes, such as those that return whole numbers."""

from collections.abc import Iterable

from convlens.tracing.receptive_field.rules import reads_only_shapes
from convlens.tracing.recording.ancestors import find_ancestors
from convlens.tracing.trace import Trace

_WITHOUT_GRADIENT = frozenset({
    "argmax", "argmin", "argsort", "bincount", "bucketize", "ceil", "detach", "eq", "floor", "ge",
    "gt", "heaviside", "histc", "le", "logical_and", "logical_not", "logical_or", "lt", "ne",
    "nonzero", "one_hot", "round", "searchsorted", "sgn", "sign", "trunc", "unique",
})  # fmt: skip


def explain_missing_gradient(trace: Trace, nodes: Iterable[int]) -> str:
    """Why the gradient of the class scores to some nodes is 0 or does not exist.

    Only called where a run showed this: a network's own `autograd.Function` may have a gradient
    where the operations inside it have none.

    Args:
        trace: of the network.
        nodes: indices of the nodes.

    Returns:
        The operations between these nodes and the class scores that have no gradient, in words;
        empty if there are none.
    """
    operations = [step for step in trace.recording.operations if not reads_only_shapes(step)]
    before_logits = list(find_ancestors(operations, [trace.logits]))
    later, stops = set(nodes), dict[str, None]()
    for operation in reversed(before_logits):
        if not later.isdisjoint(operation.inputs):
            later.update(operation.outputs)
            if operation.name in _WITHOUT_GRADIENT:
                stops[operation.name] = None
    if not stops:
        return ""
    verb = "has" if len(stops) == 1 else "have"
    return f"{', '.join(stops)}, through which the class scores are computed, {verb} none"
