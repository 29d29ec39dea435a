"""Detectors: for each convolution the node at which its channels say what they detect.

That is its post side: the output of the non-linearity that consumes it, after normalization and,
in a residual block, after the sum. Where none does (a linear bottleneck, a convolution before a
concatenation) it is the convolution's own output, normalized if it is.
"""

from dataclasses import dataclass

from convlens.tracing.node_names import NodeName
from convlens.tracing.recorder import Operation, Recording
from convlens.tracing.structure import NON_LINEARITIES, Structure

_NORMALISING = frozenset({
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm", "batch_norm", "_batch_norm_no_update", "native_group_norm",
    "native_layer_norm", "instance_norm", "_fused_rms_norm", "rms_norm",
})  # fmt: skip
_ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
_MOVING = frozenset({"permute", "transpose", "clone", "native_dropout", "contiguous", "alias"})
_GATES = frozenset({"sigmoid", "hardsigmoid"})  # times their own input they are a non-linearity


@dataclass(frozen=True)
class Convolution:
    """The channels of one run of a convolution.

    Attributes:
        layer: name of the convolution, with the run's number where it runs several times.
        node: the node, by number in the trace, that its channels are read from.
        post: whether a non-linearity gave it.
    """

    layer: str
    node: int
    post: bool


def find_convolutions(
    recording: Recording, structure: Structure, reached: set[int]
) -> tuple[Convolution, ...]:
    """Every run of a two-dimensional convolution of what follows from the image, in order.

    Args:
        recording: of the network.
        structure: of the recording.
        reached: the nodes that depend on the image.
    """
    found = []
    for operation in recording.operations:
        if operation.name != "convolution" or operation.call is None:
            continue
        node = operation.outputs[0]
        if len(operation.arguments["stride"]) != 2 or node not in reached:
            continue
        node_name = NodeName(operation.call.path, operation.call.number).brief(recording.runs)
        end, post = _end(node, structure, reached)
        found.append(Convolution(str(node_name), end, post))
    return tuple(found)


def _end(node: int, structure: Structure, reached: set[int]) -> tuple[int, bool]:
    own = node  # the last node that is the convolution's alone
    alone = True
    while True:
        consumers = structure.consumers.get(node, [])
        for consumer in consumers:
            if consumer.name in NON_LINEARITIES:
                return _gated(node, consumer, consumers), True
        step = next(filter(None, (_step(node, consumer, reached) for consumer in consumers)), None)
        if step is None:
            return own, False
        node, keeps = step
        alone = alone and keeps
        if alone:
            own = node


def _step(node: int, consumer: Operation, reached: set[int]) -> tuple[int, bool] | None:
    """What normalizes, scales, moves or adds to the node; and whether it stays its alone."""
    others = [one for one in consumer.inputs if one != node and one in reached]
    if consumer.name in _NORMALISING | _MOVING and consumer.inputs[0] == node:
        return consumer.outputs[0], True
    if consumer.name in _ARITHMETIC and not others:
        return consumer.outputs[0], True
    if consumer.name == "add":
        return consumer.outputs[0], False
    return None


def _gated(node: int, consumer: Operation, consumers: list[Operation]) -> int:
    """The non-linearity's output; of x · sigmoid(x), written out, the product."""
    gate = consumer.outputs[0]
    if consumer.name in _GATES:
        for other in consumers:
            if other.name == "mul" and {node, gate} <= set(other.inputs):
                return other.outputs[0]
    return gate
