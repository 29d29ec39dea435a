"""How many numbers a run computes and reads, by which batches are split into parts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from convlens.tracing.recording.recording import Recording


@dataclass(frozen=True)
class ElementCounts:
    """The numbers that a run on one image computes and reads from a node on.

    Attributes:
        largest: elements of the largest node that depends on the image.
        total: elements of all nodes that depend on the image.
        parameters: elements of the parameters that are read.
    """

    largest: int
    total: int
    parameters: int


def count_elements(
    recording: Recording, shapes: Mapping[int, tuple[int, ...]], first: int
) -> ElementCounts:
    """Count what follows a node in the order of execution.

    Args:
        recording: the operations of the network.
        shapes: the shapes for one image of the nodes that depend on the image.
        first: index of the node.
    """
    elements = [math.prod(shape) for node, shape in shapes.items() if node >= first]
    read = {
        node
        for operation in recording.operations
        if operation.outputs and operation.outputs[0] > first
        for node in operation.inputs
        if node in recording.parameters
    }
    parameters = sum(math.prod(recording.shapes[node]) for node in read)
    return ElementCounts(max(elements), sum(elements), parameters)
