"""The convolutions of a trace, each with the node at which its channels are read."""

from collections.abc import Container
from dataclasses import dataclass

from convlens.tracing.outputs.structure import Structure
from convlens.tracing.recording.node_names import NodeName
from convlens.tracing.recording.recording import ModuleRun, Recording
from convlens.tracing.sides import Sides, find_sides


@dataclass(frozen=True)
class Convolution:
    """One run of a two-dimensional convolution.

    Attributes:
        layer: dotted name of the module that runs it, with the number of the run if the module runs
            several times. If the module's code does more than the convolution, it is the name of
            the node at which the channels are read.
        sides: the convolution's output and the nodes before and after its non-linearity.
    """

    layer: str
    sides: Sides

    @property
    def node(self) -> int:
        """Index of the node at which the channels are read: the post side."""
        return self.sides.post

    @property
    def post(self) -> bool:
        """Whether a non-linearity returns that node."""
        return self.sides.nonlinear


def find_convolutions(
    recording: Recording, structure: Structure, on_image: Container[int]
) -> tuple[Convolution, ...]:
    """Find every run of a two-dimensional convolution on a node that depends on the image.

    Args:
        recording: of the network.
        structure: of the recording.
        on_image: indices of the nodes that depend on the image.
    """
    outputs_of_call = {
        event.call: event.output_nodes for event in recording.events if isinstance(event, ModuleRun)
    }
    convolutions = []
    for operation in recording.operations:
        if operation.name != "convolution" or operation.call is None:
            continue
        output = operation.outputs[0]
        if len(operation.arguments["stride"]) != 2 or output not in on_image:
            continue
        layer = NodeName(operation.call.path, operation.call.number).brief(recording.runs)
        sides = find_sides(output, structure, on_image, convolution=True)
        outputs = outputs_of_call.get(operation.call, ())[:1]
        if outputs != (output,):
            posts = (find_sides(node, structure, on_image).post for node in outputs)
            if sides.post not in posts:
                layer = recording.node_names.get(sides.post, (layer,))[0]
        convolutions.append(Convolution(str(layer), sides))
    return tuple(convolutions)


def count_convolved_dims(recording: Recording) -> set[int]:
    """Over how many dimensions the convolutions run: 1, 2 or 3."""
    return {
        len(operation.arguments["stride"])
        for operation in recording.operations
        if operation.name == "convolution"
    }
