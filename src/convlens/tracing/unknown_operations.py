"""Operations of which a trace does not know on which elements their results depend."""

from collections.abc import Container

from convlens.tracing.outputs.elementwise import MOVING
from convlens.tracing.outputs.structure import Structure
from convlens.tracing.receptive_field.rules import find_rule
from convlens.tracing.recording.recording import Operation

# With a mask or with indices that are computed from the image, they choose elements by values.
_CHOOSING = frozenset({
    "index", "index_put", "masked_select", "masked_scatter", "take", "index_select",
})  # fmt: skip


def chooses_by_values(operation: Operation, on_image: Container[int]) -> bool:
    """Whether an operation chooses elements by values of the image, as `x[x > 0]` does."""
    return operation.name in _CHOOSING and any(node in on_image for node in operation.inputs[1:])


def describe_unknown(operation: Operation, on_image: Container[int]) -> str:
    """What is not known of an operation, in words; empty where all is known.

    Args:
        operation: the operation.
        on_image: indices of the nodes that depend on the image.
    """
    if chooses_by_values(operation, on_image):
        return f"{operation.qualified_name}, which chooses elements by their values"
    if find_rule(operation) is None:
        return (
            f"{operation.qualified_name}, of which is not known on which elements its results "
            f"depend (convlens.register_operation adds a rule)"
        )
    return ""


def find_unknown_step(node: int, structure: Structure, on_image: Container[int]) -> str:
    """What is not known of the operations on a map that return one of its shape, in words.

    They may be its non-linearity. The search ends at operations with parameters: the next layer.

    Args:
        node: index of the map.
        structure: of the recording.
        on_image: indices of the nodes that depend on the image.

    Returns:
        As `describe_unknown`, for the first such operation; empty if there is none.
    """
    moved = [node]
    for source in moved:  # grows while operations that move elements are followed
        for operation in structure.consumers.get(source, ()):
            description = describe_unknown(operation, on_image)
            if description and _leads_to_shape(
                operation, structure, structure.recording.shapes[node]
            ):
                return description
            if not description and operation.name in MOVING:
                moved += [output for output in operation.outputs if output not in moved]
    return ""


def _leads_to_shape(operation: Operation, structure: Structure, shape: tuple[int, ...]) -> bool:
    """Whether a node of some shape is computed from an operation, without parameters in between."""
    reached = list(operation.outputs)
    for node in reached:  # grows
        if structure.recording.shapes[node] == shape:
            return True
        for consumer in structure.consumers.get(node, ()):
            if structure.recording.parameters.keys().isdisjoint(consumer.inputs):
                reached += [output for output in consumer.outputs if output not in reached]
    return False
