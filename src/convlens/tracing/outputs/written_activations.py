"""Softmax and sigmoid that a network's own code computes by several operations.

These are exp(x) / Σ exp(x), x − log Σ exp(x), 1 / (1 + exp(−x)) and their usual variants. A shift
by the largest value over the classes, which changes no probability, is recognized, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from convlens.models.output_head import SIGMOID, SOFTMAX
from convlens.tracing.outputs.operation_kinds import IDENTITIES
from convlens.tracing.recording.recording import Operation

_SHAPING = IDENTITIES | {"unsqueeze", "view", "_unsafe_view", "expand"}
_LARGEST = frozenset({"amax", "max"})


@dataclass(frozen=True)
class WrittenActivation:
    """A softmax or sigmoid that several operations compute.

    Attributes:
        name: `SOFTMAX` or `SIGMOID`.
        logits: index of its input.
        logarithmic: whether it returns the logarithms of probabilities.
    """

    name: str
    logits: int
    logarithmic: bool = False


def match_written_activation(
    node: int, producers: Mapping[int, Operation], shapes: tuple[tuple[int, ...], ...]
) -> WrittenActivation | None:
    """The activation that returns a node, if the code of a network computes it by operations.

    Args:
        node: index of the node.
        producers: the operation that returns each node.
        shapes: shape of each node.
    """
    matcher = _Matcher(producers, shapes)
    return matcher.softmax(node) or matcher.log_softmax(node) or matcher.sigmoid(node)


class _Matcher:
    """Matches the operations before a node with each way to write an activation."""

    def __init__(
        self, producers: Mapping[int, Operation], shapes: tuple[tuple[int, ...], ...]
    ) -> None:
        self._producers = producers
        self._shapes = shapes

    def softmax(self, node: int) -> WrittenActivation | None:
        """exp(x) / Σ exp(x)."""
        quotient = self._producer(node, "div", num_inputs=2)
        if quotient is None:
            return None
        above, below = quotient.inputs
        exponents, total = self._input_of(above, "exp"), self._producer(below, "sum")
        if exponents is None or total is None or not self._is_over_classes(total):
            return None
        if self._input_of(total.inputs[0], "exp") != exponents:
            return None
        return WrittenActivation(SOFTMAX, self._without_shift(exponents))

    def log_softmax(self, node: int) -> WrittenActivation | None:
        """The form x − log Σ exp(x), with `torch.logsumexp` or written out."""
        difference = self._producer(node, "sub", num_inputs=2)
        if difference is None:
            return None
        logits, normalizer = difference.inputs
        total = self._producer(normalizer, "logsumexp")
        if total is None:
            logarithm = self._producer(normalizer, "log")
            total = self._producer(logarithm.inputs[0], "sum") if logarithm else None
            exponents = self._input_of(total.inputs[0], "exp") if total else None
        else:
            exponents = self._origin(total.inputs[0])
        if total is None or exponents is None or not self._is_over_classes(total):
            return None
        if self._origin(logits) != exponents:
            return None
        return WrittenActivation(SOFTMAX, self._without_shift(logits), logarithmic=True)

    def sigmoid(self, node: int) -> WrittenActivation | None:
        """1 / (1 + exp(−x)) or exp(x) / (1 + exp(x))."""
        quotient = self._producer(node, "div", num_inputs=2)
        if quotient is not None:
            logits = self._input_of(quotient.inputs[0], "exp")
            if logits is None or logits != self._one_plus_exponential(quotient.inputs[1]):
                return None
            return WrittenActivation(SIGMOID, logits)
        inverse = self._producer(node, "reciprocal") or self._inverse_power(node)
        exponent = self._one_plus_exponential(inverse.inputs[0]) if inverse else None
        logits = self._negated(exponent) if exponent is not None else None
        return WrittenActivation(SIGMOID, logits) if logits is not None else None

    def _producer(self, node: int, name: str, *, num_inputs: int | None = None) -> Operation | None:
        """The operation of that name that returns a node, through operations that only reshape."""
        operation = self._producers.get(self._origin(node))
        if operation is None or operation.name != name:
            return None
        return operation if num_inputs in (None, len(operation.inputs)) else None

    def _origin(self, node: int) -> int:
        """The node before operations that return their input, possibly in another shape."""
        while (operation := self._producers.get(node)) and operation.name in _SHAPING:
            node = operation.inputs[0]
        return node

    def _input_of(self, node: int, name: str) -> int | None:
        operation = self._producer(node, name)
        return self._origin(operation.inputs[0]) if operation else None

    def _one_plus_exponential(self, node: int) -> int | None:
        """The x of 1 + exp(x)."""
        total = self._producer(node, "add", num_inputs=1)
        if total is None or total.arguments.get("other") != 1:
            return None
        return self._input_of(total.inputs[0], "exp")

    def _negated(self, node: int) -> int | None:
        negation = self._producer(node, "neg")
        if negation is None:
            product = self._producer(node, "mul", num_inputs=1)
            negation = product if product and product.arguments.get("other") == -1 else None
        return self._origin(negation.inputs[0]) if negation else None

    def _inverse_power(self, node: int) -> Operation | None:
        power = self._producer(node, "pow", num_inputs=1)
        return power if power is not None and power.arguments.get("exponent") == -1 else None

    def _is_over_classes(self, reduction: Operation) -> bool:
        """Whether a sum runs over one dimension that is not that of the images."""
        shape = self._shapes[reduction.inputs[0]]
        dims = reduction.arguments.get("dim")
        dims = [dims] if isinstance(dims, int) else list(dims or ())
        return len(dims) == 1 and len(shape) > 1 and dims[0] % len(shape) > 0

    def _without_shift(self, node: int) -> int:
        """The x of x − max x, or the node itself."""
        difference = self._producer(node, "sub", num_inputs=2)
        if difference is None:
            return node
        logits, shift = difference.inputs
        largest = self._producers.get(self._origin(shift))
        shifted_by_largest = (
            largest is not None
            and largest.name in _LARGEST
            and self._origin(largest.inputs[0]) == self._origin(logits)
        )
        return self._origin(logits) if shifted_by_largest else node
