"""What a recording says about the network as a whole.

Pre and post, the logits, the nodes through which everything passes, and the final convolutional
node.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from convlens.models.output_head import SIGMOID, SOFTMAX
from convlens.tracing.recorder import Operation, Recording

NON_LINEARITIES = frozenset({
    "relu", "leaky_relu", "hardtanh", "gelu", "silu", "mish", "hardswish", "elu", "celu", "selu",
    "sigmoid", "hardsigmoid", "tanh", "softplus", "softshrink", "hardshrink", "threshold",
    "_prelu_kernel", "rrelu_with_noise", "clamp", "clamp_min", "log_sigmoid_forward",
})  # fmt: skip
_LINKS = {
    "_softmax": SOFTMAX, "_log_softmax": SOFTMAX, "sigmoid": SIGMOID,
    "log_sigmoid_forward": SIGMOID,
}  # fmt: skip
# These pass nodes on, or thin them out, and detect nothing of their own.
_POOLING = frozenset({
    "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
})  # fmt: skip
_PASSING = frozenset({"clone", "alias", "detach", "native_dropout", "_to_copy", "lift_fresh"})
_RESHAPING = frozenset({"view", "_unsafe_view", "squeeze", "unsqueeze"})


@dataclass(frozen=True)
class FinalLayer:
    """The final convolutional layer: the last spatial node that every path passes through.

    Attributes:
        post: the node after the non-linearity.
        pre: the nodes before it; several where branches are concatenated after their
            non-linearities, in the order of the concatenation along the channels.
        reason: why it is this one, in a sentence.
    """

    post: int
    pre: tuple[int, ...]
    reason: str


class Structure:
    """Who made and who reads each node of a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.producers: dict[int, Operation] = {}
        self.consumers: dict[int, list[Operation]] = {}
        for operation in recording.operations:
            for node in operation.outputs:
                self.producers[node] = operation
            for node in operation.inputs:
                self.consumers.setdefault(node, []).append(operation)

    def is_pre(self, node: int) -> bool:
        """Whether a non-linearity consumes it."""
        return any(consumer.name in NON_LINEARITIES for consumer in self.consumers.get(node, ()))

    def is_post(self, node: int) -> bool:
        """Whether a non-linearity gives it."""
        return node in self.producers and self.producers[node].name in NON_LINEARITIES

    def before(self, node: int) -> int | None:
        """What the non-linearity that gave a node consumed; None where none gave it.

        Of x · sigmoid(x), written out, that is x.
        """
        producer = self.producers.get(node)
        if producer is None:
            return None
        if producer.name in NON_LINEARITIES:
            return producer.inputs[0]
        if producer.name == "mul":
            for gate, gated in (
                (producer.inputs, producer.inputs[::-1]) if len(producer.inputs) == 2 else ()
            ):
                made = self.producers.get(gate)
                if made is not None and made.name in NON_LINEARITIES and made.inputs[0] == gated:
                    return gated
        return None

    def logits(self) -> int:
        """The output, or what the softmax or sigmoid at the very end was given."""
        return self._column(self._end[0])

    def final_activation(self) -> str:
        """The network's final activation: `SOFTMAX`, `SIGMOID`, or empty for neither."""
        return self._end[1]

    @cached_property
    def _end(self) -> tuple[int, str]:
        """What the link at the very end was given, and the link; or the output and nothing."""
        node = self.recording.output
        while (producer := self.producers.get(node)) and self._passes(producer):
            node = producer.inputs[0]
        if producer is not None and producer.name in _LINKS:
            return producer.inputs[0], _LINKS[producer.name]
        return self.recording.output, ""

    def _column(self, node: int) -> int:
        """Of one number for each image, `(N,)`, the column `(N, 1)` that it was, if it was one."""
        found, shapes = node, self.recording.shapes
        while (
            len(shapes[found]) < 2
            and (producer := self.producers.get(found))
            and self._passes(producer)
        ):
            found = producer.inputs[0]
        return found if len(shapes[found]) >= 2 else node

    def _passes(self, operation: Operation) -> bool:
        """Whether an operation gives all numbers that it was given, in another shape at most."""
        if operation.name != "select":
            return operation.name in _PASSING | _RESHAPING
        # The only column of one: x[:, 0].
        given, gave = (self.recording.shapes[one[0]]
                       for one in (operation.inputs, operation.outputs))  # fmt: skip
        return operation.arguments["dim"] % len(given) > 0 and math.prod(given) == math.prod(gave)

    def passages(self, end: int) -> list[int]:
        """The nodes on every path from the image to `end`, in the order of execution.

        In an order of execution a node is on every path exactly if nothing made before it (from
        the image) is read after it (towards the end).
        """
        forward = {0}
        for operation in self.recording.operations:
            if forward.intersection(operation.inputs):
                forward.update(operation.outputs)
        needed = {end}
        for operation in reversed(self.recording.operations):
            if needed.intersection(operation.outputs):
                needed.update(operation.inputs)
        relevant = forward & needed
        made_at = {0: 0}
        last_read = dict.fromkeys(relevant, 0)
        for time, operation in enumerate(self.recording.operations, start=1):
            made_at.update(dict.fromkeys(operation.outputs, time))
            if relevant.intersection(operation.outputs):
                for node in relevant.intersection(operation.inputs):
                    last_read[node] = time
        found = []
        open_until = 0
        twins = Counter(made_at[node] for node in relevant)
        for node in sorted(relevant, key=lambda node: (made_at[node], node)):
            # Of several that one operation gave, each leaves a path through the others.
            if open_until <= made_at[node] and twins[made_at[node]] == 1:
                found.append(node)
            open_until = max(open_until, last_read[node])
        return found

    def final_layer(self, spatial: Iterable[int]) -> FinalLayer | None:
        """The final convolutional layer among the given spatial nodes, if there is one.

        From the last spatial node that every path passes through, pooling and what only passes
        nodes on is walked back. A spatial output (segmentation) is not its own explanation: there
        the last non-linearity that every path passes through is taken.
        """
        end = self.logits()
        spatial = {0, *spatial}
        inside = [node for node in self.passages(end) if node in spatial and node != 0]
        if end in spatial:
            inside = [node for node in inside if self.is_post(node)]
            why = "the last non-linearity before the output, which is itself a map"
        else:
            why = "the last spatial node that every path passes through"
        if not inside:
            return None
        node = inside[-1]
        stripped = False
        while (producer := self.producers.get(node)) and producer.name in _POOLING | _PASSING:
            if len(self.recording.shapes[producer.inputs[0]]) != 4:
                break
            stripped = stripped or producer.name in _POOLING
            node = producer.inputs[0]
        if node == 0 or node not in spatial:
            return None  # the image itself, copied or thinned out: nothing was detected in it
        if stripped:
            why += ", before pooling"
        pre = self.consumed(node)
        if pre is None:
            return FinalLayer(
                node, (node,), f"{why}; no non-linearity gives it, so pre and post agree"
            )
        if len(pre) > 1:
            why += f"; its pre side is the {len(pre)} nodes before the concatenated branches"
        return FinalLayer(node, tuple(pre), why)

    def consumed(self, node: int) -> list[int] | None:
        """What the non-linearities behind a node consumed, through concatenation of channels."""
        producer = self.producers.get(node)
        if producer is None:
            return None
        if producer.name in NON_LINEARITIES:
            return [producer.inputs[0]]
        if producer.name in _PASSING:
            return self.consumed(producer.inputs[0])
        if producer.name == "cat" and producer.arguments.get("dim") in (1, -3):
            parts = [self.consumed(part) for part in producer.inputs]
            if all(part is not None for part in parts):
                return [node for part in parts if part is not None for node in part]
        return None
