"""The operations by which a network turns the scores of its last layers into outputs."""

from collections.abc import Callable, Container, Iterator, Mapping

from convlens.tracing.outputs.operation_kinds import IDENTITIES
from convlens.tracing.outputs.value_ranges import RESHAPING
from convlens.tracing.recording.recording import Operation, Recording

# Operations of layers with weights, and of normalizations.
WEIGHTED = frozenset({
    "convolution", "addmm", "mm", "bmm", "baddbmm", "addmv", "mv", "native_batch_norm",
    "cudnn_batch_norm", "native_group_norm", "native_layer_norm", "batch_norm",
})  # fmt: skip
_NAMED = 5  # operations in a description

IsEnd = Callable[[Operation, tuple[tuple[int, ...], ...]], bool]


def last_operations(
    recording: Recording,
    producers: Mapping[int, Operation],
    on_image: Container[int],
    *,
    until: IsEnd,
) -> Iterator[Operation]:
    """The operations on the image before the output and after what ends the search, backwards.

    Args:
        recording: of the network.
        producers: the operation that returns each node.
        on_image: indices of the nodes that depend on the image.
        until: whether an operation, with the shapes of all nodes, ends the search; it is left out.
    """
    visited, open_nodes = set[int](), {recording.output}
    while open_nodes:
        node = max(open_nodes)  # the latest
        open_nodes.remove(node)
        operation = producers.get(node)
        visited.add(node)
        if operation is None or until(operation, recording.shapes):
            continue
        yield operation
        open_nodes.update(
            part for part in operation.inputs if part in on_image and part not in visited
        )


def describe_last_operations(
    recording: Recording,
    producers: Mapping[int, Operation],
    on_image: Container[int],
    *,
    until: IsEnd,
) -> str:
    """The names of the operations that compute new values, the last first.

    Args:
        recording: of the network.
        producers: the operation that returns each node.
        on_image: indices of the nodes that depend on the image.
        until: what ends the search, beside layers with weights.
    """

    def is_end(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> bool:
        return operation.name in WEIGHTED or until(operation, shapes)

    names = dict.fromkeys(
        operation.name
        for operation in last_operations(recording, producers, on_image, until=is_end)
        if operation.name not in IDENTITIES | RESHAPING
    )
    shown = list(names)[:_NAMED]
    return ", ".join(shown) + (" and others" if len(names) > len(shown) else "") or (
        "other operations"
    )
