"""The name under which a node can be captured while a network runs."""

from dataclasses import replace

from convlens.tracing.recording.node_names import NodeName
from convlens.tracing.recording.recording import Operation


def find_capture_point(
    node_names: tuple[NodeName, ...], producer: Operation | None, consumers: list[Operation]
) -> NodeName | None:
    """The name under which a node is captured as soon as it is computed, before it is read.

    This is the module that computes the node if nothing inside that module reads it, otherwise the
    call of PyTorch's interface that returns it. A tensor inside such a call (the copy that
    `flatten` makes of some tensors) and one inside compiled code have neither.

    Args:
        node_names: all names of the node.
        producer: the operation that returns it.
        consumers: the operations that read it.
    """
    for node_name in node_names:
        if node_name.operation is None and not node_name.is_input and producer is not None:
            if producer.call is None:  # a write to another tensor in the same memory
                is_first = not any(_is_inside(consumer, node_name) for consumer in consumers)
            else:
                call = producer.call
                is_first = node_name.path == call.path and node_name.call in (None, call.number)
                is_first = is_first and not any(consumer.call == call for consumer in consumers)
            if is_first:
                return node_name
    for node_name in node_names:
        if node_name.operation is not None:
            # The listener counts every run of a module, also of one that runs once.
            return replace(node_name, call=node_name.call or 1)
    return None


def _is_inside(operation: Operation, module_name: NodeName) -> bool:
    """Whether an operation runs in a module or in one of its submodules."""
    path = operation.call.path if operation.call is not None else ""
    return f"{path}.".startswith(f"{module_name.path}.")
