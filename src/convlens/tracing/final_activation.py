"""What a network's last operations say about its outputs: logits, or probabilities.

Where a softmax or sigmoid is followed only by operations that can be undone exactly, its input is
the logits. An average of several softmaxes has no such input; its values are probabilities, which
are read as they are.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass

from convlens.models.output_head import PROBABILITIES, SIGMOID, SOFTMAX
from convlens.tracing.nonlinearities import IDENTITIES
from convlens.tracing.recording import NodeRef, Operation, Recording
from convlens.tracing.written_activations import match_written_activation

_ACTIVATIONS = {
    "_softmax": SOFTMAX, "_log_softmax": SOFTMAX, "sigmoid": SIGMOID,
    "log_sigmoid_forward": SIGMOID,
}  # fmt: skip
_LOGARITHMIC = ("_log_softmax", "log_sigmoid_forward")
_RESHAPING = frozenset({"view", "_unsafe_view", "squeeze", "unsqueeze"})
_NEUTRAL_NUMBER = {"mul": 1, "div": 1, "pow": 1, "add": 0, "sub": 0}
# Operations between several probabilities and the output; each has a rule in `_range`.
_SELECTING = IDENTITIES | _RESHAPING | {
    "stack", "cat", "mean", "permute", "transpose", "t", "expand", "select", "slice", "amax",
    "amin", "maximum", "minimum",
}  # fmt: skip
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
    return _find_probabilities(recording, producers, on_image)


def passes_through(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> bool:
    """Whether an operation returns its input unchanged, possibly in another shape."""
    if operation.name in _NEUTRAL_NUMBER and len(operation.inputs) == 1:
        number = operation.arguments.get("other", operation.arguments.get("exponent"))
        return number == _NEUTRAL_NUMBER[operation.name] and "self" in operation.arguments
    if operation.name != "select":
        return operation.name in IDENTITIES | _RESHAPING
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
    names = ("log", "exp", "clamp", "clamp_min", "clamp_max", "add")
    return operation.name in names and len(operation.inputs) == 1


def _are_undone(operations: list[Operation], *, logarithmic: bool) -> bool:
    """Whether probabilities, or their logarithms, stay such and the same through operations."""
    for operation in operations:
        if operation.name in ("log", "exp"):
            if logarithmic == (operation.name == "log"):
                return False
            logarithmic = not logarithmic
        elif operation.name.startswith("clamp"):
            low, high = (operation.arguments.get(name) for name in ("min", "max"))
            least, greatest = (math.log(_SMALL), 0) if logarithmic else (_SMALL, 1 - _SMALL)
            if isinstance(low, NodeRef) or isinstance(high, NodeRef):
                return False
            if (low is not None and low > least) or (high is not None and high < greatest):
                return False
        elif operation.name == "add" and not 0 <= operation.arguments["other"] <= _SMALL:
            return False
    return True


def _find_probabilities(
    recording: Recording, producers: Mapping[int, Operation], on_image: Container[int]
) -> FinalActivation:
    output = recording.output
    search = _Ranges(recording, producers, on_image)
    values = search.of(output)
    if not search.activations or search.others:
        return FinalActivation(output)
    kinds = " and ".join(sorted({_ACTIVATIONS[name] for name in search.activations}))
    what = f"the network computes its outputs from the results of a {kinds} by "
    what += ", ".join(dict.fromkeys(search.operations)) or "other operations"
    if values is not None and values[0] >= -_SMALL and values[1] <= 1 + _SMALL:
        return FinalActivation(
            output,
            PROBABILITIES,
            f"{what}: they are read as probabilities, not as logits, and gradients, which are "
            f"those of probabilities, vanish where the network is sure",
        )
    return FinalActivation(
        output,
        "",
        f"{what}: they are no logits, but are read as such, so probabilities are not those of the "
        f"network",
    )


class _Ranges:
    """The least and greatest value of nodes that are computed from probabilities.

    Attributes:
        activations: names of the activations that were found.
        operations: names of the operations between them and the nodes that compute new values.
        others: whether a node is computed from something else on the image.
    """

    def __init__(
        self,
        recording: Recording,
        producers: Mapping[int, Operation],
        on_image: Container[int],
    ) -> None:
        self.activations: list[str] = []
        self.operations: list[str] = []
        self.others = False
        self._shapes = recording.shapes
        self._producers = producers
        self._on_image = on_image
        self._known: dict[int, tuple[float, float] | None] = {}

    def of(self, node: int) -> tuple[float, float] | None:
        """The range of a node; None if it is unknown."""
        if node not in self._known:
            self._known[node] = self._find(node)
        return self._known[node]

    def _find(self, node: int) -> tuple[float, float] | None:
        operation = self._producers.get(node)
        if operation is None:
            self.others = self.others or node in self._on_image
            return None
        if _is_activation(operation, self._shapes):
            self.activations.append(operation.name)
            return None if operation.name in _LOGARITHMIC else (0.0, 1.0)
        known = operation.name in _SELECTING or operation.name in _ARITHMETIC
        if not known:
            self.others = self.others or node in self._on_image
            return None
        if operation.name not in IDENTITIES | _RESHAPING:
            self.operations.append(operation.name)
        inputs = [self.of(part) for part in operation.inputs]
        if self.others or any(part is None for part in inputs):
            return None
        ranges = [part for part in inputs if part is not None]
        if operation.name in _SELECTING:
            return min(low for low, _ in ranges), max(high for _, high in ranges)
        return self._compute(operation, ranges)

    def _compute(
        self, operation: Operation, ranges: list[tuple[float, float]]
    ) -> tuple[float, float] | None:
        (low, high), *rest = ranges
        number = operation.arguments.get("other")
        second = rest[0] if rest else None
        if isinstance(number, (int, float)):
            second = (float(number), float(number))
        match operation.name:
            case "sum":
                counts = (math.prod(self._shapes[nodes[0]]) for nodes in
                          (operation.inputs, operation.outputs))  # fmt: skip
                before, after = counts
                return low * (before // after), high * (before // after)
            case "clamp" | "clamp_min" | "clamp_max":
                least, greatest = (operation.arguments.get(name) for name in ("min", "max"))
                if isinstance(least, NodeRef) or isinstance(greatest, NodeRef):
                    return None
                low = low if least is None else max(low, least)
                return low, high if greatest is None else min(high, greatest)
            case "add" | "sub" | "mul" | "div" if second is not None:
                if operation.name == "div" and (rest or not number):
                    return None
                return _combine(operation.name, (low, high), second)
        return None


_ARITHMETIC = frozenset({
    "sum", "clamp", "clamp_min", "clamp_max", "add", "sub", "mul", "div", "log", "exp", "pow",
})  # fmt: skip


def _combine(
    name: str, first: tuple[float, float], second: tuple[float, float]
) -> tuple[float, float]:
    compute = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
    }[name]
    values = [compute(a, b) for a in first for b in second]
    return min(values), max(values)
