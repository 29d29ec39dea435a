"""The nodes from which other nodes are computed."""

from collections.abc import Iterable, Iterator, Sequence

from convlens.tracing.recording.recording import Operation


def find_ancestors(operations: Sequence[Operation], nodes: Iterable[int]) -> Iterator[Operation]:
    """The operations by whose results some nodes are computed, the last one first.

    Args:
        operations: in the order of execution.
        nodes: indices of the nodes.
    """
    needed = set(nodes)
    for operation in reversed(operations):
        if not needed.isdisjoint(operation.outputs):
            needed.update(operation.inputs)
            yield operation


def find_ancestor_nodes(operations: Sequence[Operation], nodes: Iterable[int]) -> set[int]:
    """The nodes from which some nodes are computed, and these nodes themselves.

    Args:
        operations: in the order of execution.
        nodes: indices of the nodes.
    """
    ancestors = set(nodes)
    ancestors.update(
        node for operation in find_ancestors(operations, ancestors) for node in operation.inputs
    )
    return ancestors
