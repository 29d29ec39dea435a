"""Stacks of functions of a node that are reduced again: `torch.stack([x, zeros]).amax(0)`."""

from collections.abc import Mapping, Sequence

from convlens.tracing.recording.recording import Operation

# They join tensors of one shape along a new dimension.
STACKING = frozenset({"stack", "cat", "unsqueeze"})
LINEAR_REDUCTIONS = frozenset({"sum", "mean"})
STACK_REDUCTIONS = LINEAR_REDUCTIONS | {"amax", "amin", "max", "min", "logsumexp", "prod"}


def is_stack_step(
    operation: Operation,
    producers: Mapping[int, Operation],
    shapes: Sequence[tuple[int, ...]],
) -> bool:
    """Whether an operation stacks tensors, or reduces the dimension along which they are stacked.

    Each element of the result is then a function of the elements at its own position.

    Args:
        operation: one of `STACKING` or `STACK_REDUCTIONS`.
        producers: the operation that returns each node.
        shapes: shape of each node, by its index.
    """
    if operation.name == "unsqueeze":
        return True
    if operation.name in STACKING:
        return _stack_dim(operation, shapes) is not None
    stack = producers.get(operation.inputs[0])
    stack_dim = None if stack is None else _stack_dim(stack, shapes)
    dims = operation.arguments.get("dim")
    if stack_dim is None or dims is None or operation.arguments.get("keepdim"):
        return False
    ndim = len(shapes[operation.inputs[0]])
    return [dim % ndim for dim in ([dims] if isinstance(dims, int) else dims)] == [stack_dim]


def _stack_dim(operation: Operation, shapes: Sequence[tuple[int, ...]]) -> int | None:
    """The dimension along which `stack`, or `cat` after `unsqueeze`, joins its inputs."""
    if operation.name not in ("stack", "cat"):
        return None
    dim: int = (operation.arguments.get("dim") or 0) % len(shapes[operation.outputs[0]])
    if operation.name == "cat" and any(
        len(shapes[node]) <= dim or shapes[node][dim] != 1 for node in operation.inputs
    ):
        return None
    return dim
