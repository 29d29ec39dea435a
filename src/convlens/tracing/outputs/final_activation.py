"""What a network's last operations say about its outputs: logits, or probabilities.

Where a softmax or sigmoid is followed only by operations that can be undone exactly, its input is
the logits; the network may return percentages, or negative logarithms. An average of several
softmaxes has no such input; its values are probabilities, which are read as they are.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

from convlens.models.output_head import PROBABILITIES, SIGMOID, SOFTMAX
from convlens.tracing.outputs.last_operations import (
    WEIGHTED,
    describe_last_operations,
    last_operations,
)
from convlens.tracing.outputs.operation_kinds import IDENTITIES
from convlens.tracing.outputs.value_ranges import RESHAPING, ValueRanges
from convlens.tracing.outputs.written_activations import match_written_activation
from convlens.tracing.recording.recording import NodeRef, Operation, Recording

_ACTIVATIONS = {
    "_softmax": SOFTMAX, "_log_softmax": SOFTMAX, "sigmoid": SIGMOID,
    "log_sigmoid_forward": SIGMOID,
}  # fmt: skip
_LOGARITHMIC = ("_log_softmax", "log_sigmoid_forward")
_LOGARITHMS = ("log", "log2", "log10")
_SCALING = ("mul", "div", "neg")
_SOFT = frozenset({"softplus", "exp", "exp2", "logaddexp"})
_RECTIFIERS = frozenset({
    "relu", "relu6", "threshold", "hardtanh", "clamp", "clamp_min", "maximum",
})  # fmt: skip
_NEUTRAL_NUMBER = {"mul": 1, "div": 1, "pow": 1, "add": 0, "sub": 0}
AS_PROBABILITIES = (
    "they are read as probabilities, not as logits, and gradients, which are those of "
    "probabilities, vanish where the network is sure"
)
_SMALL = 1e-6  # a probability that is limited or shifted by as much is the same in float32


@dataclass(frozen=True)
class FinalActivation:
    """How the outputs of a network are to be read.

    Attributes:
        node: index of the node that holds the logits; with `PROBABILITIES` the output.
        name: `SOFTMAX`, `SIGMOID` or `PROBABILITIES`; empty if the outputs are taken for logits.
        warning: what is uncertain about it, in words; empty if nothing is.
    """

    node: int
    name: str = ""
    warning: str = ""


def find_final_activation(
    recording: Recording, producers: Mapping[int, Operation], on_image: Container[int]
) -> FinalActivation:
    """Find out how the outputs of a network are to be read.

    Args:
        recording: of the network.
        producers: the operation that returns each node.
        on_image: indices of the nodes that depend on the image.
    """
    node, followers = recording.output, []
    while (producer := producers.get(node)) and (
        passes_through(producer, recording.shapes) or _may_be_undone(producer)
    ):
        if not passes_through(producer, recording.shapes):
            followers.append(producer)
        node = producer.inputs[0]
    written = match_written_activation(node, producers, recording.shapes)
    if written is not None and _are_undone(followers[::-1], logarithmic=written.logarithmic):
        return FinalActivation(written.logits, written.name)
    if (
        producer is not None
        and _is_activation(producer, recording.shapes)
        and _are_undone(followers[::-1], logarithmic=producer.name in _LOGARITHMIC)
    ):
        return FinalActivation(producer.inputs[0], _ACTIVATIONS[producer.name])
    return _describe_values(recording, producers, on_image)


def passes_through(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> bool:
    """Whether an operation returns its input unchanged, possibly in another shape."""
    if operation.name in _NEUTRAL_NUMBER and len(operation.inputs) == 1:
        number = operation.arguments.get("other", operation.arguments.get("exponent"))
        return number == _NEUTRAL_NUMBER[operation.name] and "self" in operation.arguments
    if operation.name != "select":
        return operation.name in IDENTITIES | RESHAPING
    # `x[:, 0]` of an x with a single column.
    input_shape, output_shape = (
        shapes[nodes[0]] for nodes in (operation.inputs, operation.outputs)
    )
    selects_column = operation.arguments["dim"] % len(input_shape) > 0
    return selects_column and math.prod(input_shape) == math.prod(output_shape)


def _is_activation(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> bool:
    """Whether an operation is a softmax over classes (not over the images) or a sigmoid."""
    if operation.name not in _ACTIVATIONS:
        return False
    dim, dims = operation.arguments.get("dim"), len(shapes[operation.inputs[0]])
    return dim is None or dims < 2 or dim % dims > 0


def _may_be_undone(operation: Operation) -> bool:
    names = ("exp", "clamp", "clamp_min", "clamp_max", "add", *_LOGARITHMS, *_SCALING)
    return operation.name in names and len(operation.inputs) == 1


def _are_undone(operations: list[Operation], *, logarithmic: bool) -> bool:
    """Whether probabilities, or their logarithms, stay such and the same through operations.

    At the end they may be multiplied by a number: percentages, bits, or the negative logarithms
    that a loss takes.
    """
    scaled = False
    for operation in operations:
        if operation.name in _SCALING:
            undone = _keeps_ratios(operation, logarithmic=logarithmic)
            undone = undone and (logarithmic or not scaled)
            scaled = True
        elif operation.name in _LOGARITHMS or operation.name == "exp":
            undone = not scaled and logarithmic == (operation.name == "exp")
            logarithmic = not logarithmic
            scaled = operation.name in ("log2", "log10")
        else:
            undone = not scaled and _limits_nothing(operation, logarithmic=logarithmic)
        if not undone:
            return False
    return True


def _limits_nothing(operation: Operation, *, logarithmic: bool) -> bool:
    """Whether a clamp or a sum with a number changes no probability in float32."""
    if operation.name == "add":
        return 0 <= operation.arguments["other"] <= _SMALL
    low, high = (operation.arguments.get(name) for name in ("min", "max"))
    least, greatest = (math.log(_SMALL), 0) if logarithmic else (_SMALL, 1 - _SMALL)
    if isinstance(low, NodeRef) or isinstance(high, NodeRef):
        return False
    return (low is None or low <= least) and (high is None or high >= greatest)


def _keeps_ratios(operation: Operation, *, logarithmic: bool) -> bool:
    """Whether a multiplication leaves no doubt about the probabilities.

    Of probabilities it makes percentages; times another number they are something else.
    """
    if operation.name == "neg":
        return logarithmic
    number = operation.arguments.get("other")
    if not isinstance(number, (int, float)) or not math.isfinite(number) or number == 0:
        return False
    if operation.arguments.get("rounding_mode"):
        return False
    factor = number if operation.name == "mul" else 1 / number
    return logarithmic or math.isclose(factor, 100)


def _describe_values(
    recording: Recording, producers: Mapping[int, Operation], on_image: Container[int]
) -> FinalActivation:
    """How outputs that are no softmax or sigmoid of a node are to be read, by their range."""
    output = recording.output
    values = ValueRanges(recording, producers, on_image).of(output)
    activations = _find_activations(recording, producers, on_image)
    last = {
        operation.name
        for operation in last_operations(recording, producers, on_image, until=_is_weighted)
    }
    steps = describe_last_operations(recording, producers, on_image, until=_is_activation)
    if activations:
        steps = f"the network computes its outputs from the results of a {activations} by {steps}"
    else:
        steps = f"the network limits its outputs by {steps}"
    if values.within(0, 1):
        return FinalActivation(output, PROBABILITIES, f"{steps}: {AS_PROBABILITIES}")
    if activations or values.within(-1, 1) or (values.low >= 0 and _is_soft(last)):
        return FinalActivation(
            output,
            "",
            f"{steps}: they are no logits, but are read as such, so probabilities are not those of "
            f"the network",
        )
    return FinalActivation(output)


def _is_weighted(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> bool:
    return operation.name in WEIGHTED


def _is_soft(names: set[str]) -> bool:
    """Whether values are positive by a softplus or an exponential, which gives no logits.

    Logits may be cut off at 0, as before the last pooling of SqueezeNet, or be distances.
    """
    return not names.isdisjoint(_SOFT) and names.isdisjoint(_RECTIFIERS)


def without_logits(reading: FinalActivation, output: int) -> FinalActivation:
    """The reading of a softmax or sigmoid whose input no run shows, as that of `softmin`."""
    return FinalActivation(
        output,
        PROBABILITIES,
        f"the input of the final {reading.name} is inside an operation that shows only its result: "
        f"outputs are read as probabilities, and gradients, which are those of probabilities, "
        f"vanish where the network is sure",
    )


def _find_activations(
    recording: Recording, producers: Mapping[int, Operation], on_image: Container[int]
) -> str:
    """The softmaxes and sigmoids from whose results alone the outputs are computed, in words."""
    names, visited, open_nodes = set(), set[int](), [recording.output]
    while open_nodes:
        node = open_nodes.pop()
        if node in visited or node not in on_image:
            continue
        visited.add(node)
        operation = producers.get(node)
        if operation is None or operation.name in WEIGHTED:
            return ""
        if _is_activation(operation, recording.shapes):
            names.add(_ACTIVATIONS[operation.name])
        else:
            open_nodes.extend(operation.inputs)
    return " and ".join(sorted(names))
