"""The least and the greatest value that nodes can have, by interval arithmetic.

A sigmoid lies between 0 and 1, whatever its input; so do the mean of two sigmoids, and
exp(x) / (exp(x) + exp(y)). What is not known here has no bounds.
"""

import math
from collections.abc import Callable, Container, Mapping
from typing import Any

from convlens.tracing.outputs.operation_kinds import IDENTITIES
from convlens.tracing.outputs.value_range import ValueRange
from convlens.tracing.recording.known_values import KnownValues
from convlens.tracing.recording.recording import NodeRef, Operation, Recording

RESHAPING = frozenset({"view", "_unsafe_view", "squeeze", "unsqueeze"})
# They return some of the values of their inputs, or means of them.
_SELECTING = IDENTITIES | RESHAPING | {
    "stack", "cat", "mean", "permute", "transpose", "t", "expand", "select", "slice", "amax",
    "amin", "max", "min", "maximum", "minimum", "split", "unbind", "flip", "roll", "index",
    "index_select", "gather", "sort", "topk", "median", "_adaptive_avg_pool2d", "repeat",
    "max_pool2d_with_indices", "upsample_nearest2d", "upsample_bilinear2d", "round",
}  # fmt: skip
_BY_INDEX = frozenset({"index", "index_select", "gather"})  # their other inputs are no values
# The values of functions of any number.
_BOUNDED = {
    "_softmax": (0, 1), "sigmoid": (0, 1), "hardsigmoid": (0, 1), "special_ndtr": (0, 1),
    "special_expit": (0, 1), "tanh": (-1, 1), "erf": (-1, 1), "sin": (-1, 1), "cos": (-1, 1),
    "sign": (-1, 1), "sgn": (-1, 1), "erfc": (0, 2), "atan": (-math.pi / 2, math.pi / 2),
    "_log_softmax": (-math.inf, 0), "log_sigmoid_forward": (-math.inf, 0), "relu": (0, math.inf),
    "softplus": (0, math.inf), "linalg_vector_norm": (0, math.inf), "elu": (-1, math.inf),
    "gt": (0, 1), "ge": (0, 1), "lt": (0, 1), "le": (0, 1), "eq": (0, 1), "ne": (0, 1),
    "logical_and": (0, 1), "logical_or": (0, 1), "logical_not": (0, 1), "zeros": (0, 0),
    "ones": (1, 1), "zeros_like": (0, 0), "ones_like": (1, 1), "new_zeros": (0, 0),
    "new_ones": (1, 1),
}  # fmt: skip
_INCREASING: dict[str, Callable[[float], float]] = {
    "exp": math.exp, "exp2": lambda x: 2.0**x, "expm1": math.expm1, "log": math.log,
    "log1p": math.log1p, "sqrt": math.sqrt,
}  # fmt: skip
_LIMITS = {"clamp": ("min", "max"), "clamp_min": ("min", ""), "clamp_max": ("", "max"),
           "hardtanh": ("min_val", "max_val")}  # fmt: skip
_REPLACING = {"where": ("self", "other"), "masked_fill": ("self", "value"),
              "full": ("fill_value",), "full_like": ("fill_value",),
              "new_full": ("fill_value",)}  # fmt: skip


class ValueRanges:
    """The ranges of the nodes of a recording, found when they are asked for."""

    def __init__(
        self, recording: Recording, producers: Mapping[int, Operation], on_image: Container[int]
    ) -> None:
        """Look at the nodes of a recording.

        Args:
            recording: of the network.
            producers: the operation that returns each node.
            on_image: indices of the nodes that depend on the image.
        """
        self._on_image = on_image
        self._producers = producers
        self._shapes = recording.shapes
        self._values = KnownValues(recording, producers)
        self._known: dict[int, ValueRange] = {}

    def of(self, node: int) -> ValueRange:
        """The range of a node."""
        if node not in self._known:
            operation = self._producers.get(node)
            value = None if node in self._on_image else self._values.value(node)
            if value is not None and value.numel():
                self._known[node] = ValueRange(float(value.min()), float(value.max()))
            else:
                self._known[node] = ValueRange() if operation is None else self._find(operation)
        return self._known[node]

    def _find(self, operation: Operation) -> ValueRange:
        name, arguments = operation.name, operation.arguments
        if name in _BOUNDED and not self._runs_over_images(operation):
            low, high = _BOUNDED[name]
            return ValueRange(float(low), float(high))
        if name in _REPLACING:
            return self._union([arguments.get(argument) for argument in _REPLACING[name]])
        if name in _SELECTING and operation.inputs:
            parts = operation.inputs[:1] if name in _BY_INDEX else operation.inputs
            return self._union([NodeRef(part) for part in parts])
        if name in _COMPUTED:
            return _COMPUTED[name](self, operation)
        if name in _INCREASING:
            return self._first(operation).increasing(_INCREASING[name])
        return ValueRange()

    def _runs_over_images(self, operation: Operation) -> bool:
        """Whether an operation over dimensions, such as a softmax, runs over the images."""
        count = len(self._shapes[operation.inputs[0]]) if operation.inputs else 0
        dims = operation.arguments.get("dim")
        dims = [dims] if isinstance(dims, int) else list(dims or ())
        return count > 1 and any(dim % count == 0 for dim in dims)

    def _first(self, operation: Operation) -> ValueRange:
        return self.of(operation.inputs[0])

    def _of_argument(self, argument: Any) -> ValueRange:
        if isinstance(argument, NodeRef):
            return self.of(argument.node)
        is_number = isinstance(argument, (int, float))
        return ValueRange.of_number(argument) if is_number else ValueRange()

    def _union(self, arguments: list[Any]) -> ValueRange:
        first, *others = map(self._of_argument, arguments)
        for other in others:
            first = first.union(other)
        return first

    def _operands(self, operation: Operation) -> tuple[ValueRange, ValueRange]:
        """The ranges of the two operands; the second one multiplied by `alpha`."""
        first, second = (self._of_argument(operation.arguments.get(n)) for n in ("self", "other"))
        alpha = ValueRange.of_number(operation.arguments.get("alpha", 1))
        if operation.name == "rsub":  # other - alpha * self
            return second, first * alpha
        return first, second * alpha

    def add(self, operation: Operation) -> ValueRange:
        """The range of a sum."""
        first, second = self._operands(operation)
        return first + second

    def subtract(self, operation: Operation) -> ValueRange:
        """The range of a difference."""
        first, second = self._operands(operation)
        return first + -second

    def multiply(self, operation: Operation) -> ValueRange:
        """The range of a product."""
        first, second = self._operands(operation)
        return first * second

    def divide(self, operation: Operation) -> ValueRange:
        """The range of a quotient, also of one number by a sum of it, or its size, and others."""
        part, total = (operation.arguments.get(name) for name in ("self", "other"))
        if isinstance(part, NodeRef) and isinstance(total, NodeRef):
            node = part.node
            if self.of(node).low >= 0 and self._holds(
                total.node, lambda summand: self._is_same(summand, node)
            ):
                return ValueRange(0.0, 1.0)
            if self._holds(total.node, lambda summand: self._is_size_of(summand, node)):
                return ValueRange(-1.0, 1.0)
        first, second = self._operands(operation)
        return first * second.reciprocal()

    def sum_up(self, operation: Operation) -> ValueRange:
        """The range of a sum over dimensions."""
        before, after = (
            math.prod(self._shapes[nodes[0]]) for nodes in (operation.inputs, operation.outputs)
        )
        return self._first(operation) * ValueRange.of_number(before // max(after, 1))

    def limit(self, operation: Operation) -> ValueRange:
        """The range of a clamp to numbers."""
        least, greatest = (operation.arguments.get(name) for name in _LIMITS[operation.name])
        if isinstance(least, NodeRef) or isinstance(greatest, NodeRef):
            return ValueRange()
        return self._first(operation).limited(least, greatest)

    def power(self, operation: Operation) -> ValueRange:
        """The range of a power, of a number or to the power of a number."""
        base, exponent = (operation.arguments.get(name) for name in ("self", "exponent"))
        if isinstance(exponent, (int, float)):
            return self._first(operation).power(exponent)
        positive = isinstance(base, (int, float)) and base > 0
        return ValueRange(0.0, math.inf) if positive else ValueRange()

    def product(self, operation: Operation) -> ValueRange:
        """The range of a product over a dimension."""
        is_share = self._first(operation).within(0, 1)
        return ValueRange(0.0, 1.0) if is_share else ValueRange()

    def soft_maximum(self, operation: Operation) -> ValueRange:
        """The range of log(eˣ + eʸ), which is above both; a softplus where y is 0."""
        first, second = self._operands(operation)
        return ValueRange(max(first.low, second.low), math.inf)

    def pad(self, operation: Operation) -> ValueRange:
        """The range of a tensor with a number around it."""
        value = operation.arguments.get("value") or 0
        return self._first(operation).union(ValueRange.of_number(value))

    def _holds(self, total: int, is_part: Callable[[int], bool]) -> bool:
        """Whether a node is a sum of a given part and of numbers that are not below 0."""
        if is_part(total):
            return True
        operation = self._producers.get(self._origin(total))
        summands = [] if operation is None else self._list_summands(operation)
        return any(self._holds(node, is_part) for node in summands)

    def _list_summands(self, operation: Operation) -> list[int]:
        """The nodes to which an operation adds nothing below 0."""
        arguments = operation.arguments
        is_sum = operation.name == "sum" or (
            operation.name == "linalg_vector_norm" and arguments.get("ord") == 1
        )
        is_raised = operation.name.startswith("clamp") and arguments.get("max") is None
        if (is_sum and not self._runs_over_images(operation)) or is_raised:
            return [operation.inputs[0]]
        if operation.name != "add" or arguments.get("alpha", 1) != 1:
            return []
        terms = [arguments.get(name) for name in ("self", "other")]
        return [
            term.node
            for term, other in (terms, terms[::-1])
            if isinstance(term, NodeRef) and self._of_argument(other).low >= 0
        ]

    def _is_size_of(self, node: int, other: int) -> bool:
        """Whether a node is the absolute value of another one."""
        operation = self._producers.get(self._origin(node))
        if operation is None or operation.name != "abs":
            return False
        return self._is_same(operation.inputs[0], other)

    def _is_same(self, node: int, other: int) -> bool:
        """Whether two nodes have the same values because they are computed in the same way."""
        node, other = self._origin(node), self._origin(other)
        first, second = self._producers.get(node), self._producers.get(other)
        if node == other or first is None or second is None:
            return node == other
        return (
            first.name == second.name
            and len(first.inputs) == len(second.inputs)
            and _plain_arguments(first) == _plain_arguments(second)
            and all(map(self._is_same, first.inputs, second.inputs))
        )

    def _origin(self, node: int) -> int:
        """The node before operations that return their input, possibly in another shape."""
        names = IDENTITIES | RESHAPING | {"expand"}
        while (operation := self._producers.get(node)) and operation.name in names:
            node = operation.inputs[0]
        return node


def _plain_arguments(operation: Operation) -> dict[str, Any]:
    return {
        name: value for name, value in operation.arguments.items() if not isinstance(value, NodeRef)
    }


_COMPUTED: dict[str, Callable[[ValueRanges, Operation], ValueRange]] = {
    "add": ValueRanges.add,
    "sub": ValueRanges.subtract,
    "rsub": ValueRanges.subtract,
    "mul": ValueRanges.multiply,
    "div": ValueRanges.divide,
    "sum": ValueRanges.sum_up,
    "prod": ValueRanges.product,
    "cumprod": ValueRanges.product,
    "pow": ValueRanges.power,
    "logaddexp": ValueRanges.soft_maximum,
    "constant_pad_nd": ValueRanges.pad,
    **dict.fromkeys(_LIMITS, ValueRanges.limit),
    "neg": lambda ranges, operation: -ranges.of(operation.inputs[0]),
    "abs": lambda ranges, operation: abs(ranges.of(operation.inputs[0])),
    "reciprocal": lambda ranges, operation: ranges.of(operation.inputs[0]).reciprocal(),
    "relu6": lambda ranges, operation: ranges.of(operation.inputs[0]).limited(0, 6),
}
