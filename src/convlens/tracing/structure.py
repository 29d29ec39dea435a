"""What a recording says about the network as a whole.

Pre and post, the logits, the values through which everything passes, and the final convolutional
place.
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
# These pass values on, or thin them out, and detect nothing of their own.
_POOLING = frozenset({
    "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
})  # fmt: skip
_PASSING = frozenset({"clone", "alias", "detach", "native_dropout", "_to_copy", "lift_fresh"})
_RESHAPING = frozenset({"view", "_unsafe_view", "squeeze", "unsqueeze"})


@dataclass(frozen=True)
class Final:
    """The final convolutional place: the last spatial value that every path passes through.

    Attributes:
        post: the value after the non-linearity.
        pre: the values before it; several where branches are concatenated after their
            non-linearities, in the order of the concatenation along the channels.
        reason: why it is this one, in a sentence.
    """

    post: int
    pre: tuple[int, ...]
    reason: str


class Structure:
    """Who made and who reads each value of a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.maker: dict[int, Operation] = {}
        self.readers: dict[int, list[Operation]] = {}
        for operation in recording.operations:
            for value in operation.outputs:
                self.maker[value] = operation
            for value in operation.inputs:
                self.readers.setdefault(value, []).append(operation)

    def is_pre(self, value: int) -> bool:
        """Whether a non-linearity consumes it."""
        return any(reader.name in NON_LINEARITIES for reader in self.readers.get(value, ()))

    def is_post(self, value: int) -> bool:
        """Whether a non-linearity gives it."""
        return value in self.maker and self.maker[value].name in NON_LINEARITIES

    def before(self, value: int) -> int | None:
        """What the non-linearity that gave a value consumed; None where none gave it.

        Of x · sigmoid(x), written out, that is x.
        """
        maker = self.maker.get(value)
        if maker is None:
            return None
        if maker.name in NON_LINEARITIES:
            return maker.inputs[0]
        if maker.name == "mul":
            for gate, gated in (maker.inputs, maker.inputs[::-1]) if len(maker.inputs) == 2 else ():
                made = self.maker.get(gate)
                if made is not None and made.name in NON_LINEARITIES and made.inputs[0] == gated:
                    return gated
        return None

    def logits(self) -> int:
        """The output, or what the softmax or sigmoid at the very end was given."""
        return self._column(self._end[0])

    def ending(self) -> str:
        """What stands at the very end: `links.SOFTMAX`, `links.SIGMOID`, or neither: empty."""
        return self._end[1]

    @cached_property
    def _end(self) -> tuple[int, str]:
        """What the link at the very end was given, and the link; or the output and nothing."""
        value = self.recording.output
        while (maker := self.maker.get(value)) and self._passes(maker):
            value = maker.inputs[0]
        if maker is not None and maker.name in _LINKS:
            return maker.inputs[0], _LINKS[maker.name]
        return self.recording.output, ""

    def _column(self, value: int) -> int:
        """Of one number for each image, `(N,)`, the column `(N, 1)` that it was, if it was one."""
        found, shapes = value, self.recording.shapes
        while len(shapes[found]) < 2 and (maker := self.maker.get(found)) and self._passes(maker):
            found = maker.inputs[0]
        return found if len(shapes[found]) >= 2 else value

    def _passes(self, operation: Operation) -> bool:
        """Whether an operation gives all numbers that it was given, in another shape at most."""
        if operation.name != "select":
            return operation.name in _PASSING | _RESHAPING
        # The only column of one: x[:, 0].
        given, gave = (self.recording.shapes[one[0]]
                       for one in (operation.inputs, operation.outputs))  # fmt: skip
        return operation.arguments["dim"] % len(given) > 0 and math.prod(given) == math.prod(gave)

    def passages(self, end: int) -> list[int]:
        """The values on every path from the image to `end`, in the order of execution.

        In an order of execution a value is on every path exactly if nothing made before it (from
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
                for value in relevant.intersection(operation.inputs):
                    last_read[value] = time
        found = []
        open_until = 0
        twins = Counter(made_at[value] for value in relevant)
        for value in sorted(relevant, key=lambda value: (made_at[value], value)):
            # Of several that one operation gave, each leaves a path through the others.
            if open_until <= made_at[value] and twins[made_at[value]] == 1:
                found.append(value)
            open_until = max(open_until, last_read[value])
        return found

    def final(self, spatial: Iterable[int]) -> Final | None:
        """The final convolutional place among the given spatial values, if there is one.

        From the last spatial value that every path passes through, pooling and what only passes
        values on is walked back. A spatial output (segmentation) is not its own explanation: there
        the last non-linearity that every path passes through is taken.
        """
        end = self.logits()
        spatial = {0, *spatial}
        inside = [value for value in self.passages(end) if value in spatial and value != 0]
        if end in spatial:
            inside = [value for value in inside if self.is_post(value)]
            why = "the last non-linearity before the output, which is itself a map"
        else:
            why = "the last spatial value that every path passes through"
        if not inside:
            return None
        value = inside[-1]
        stripped = False
        while (maker := self.maker.get(value)) and maker.name in _POOLING | _PASSING:
            if len(self.recording.shapes[maker.inputs[0]]) != 4:
                break
            stripped = stripped or maker.name in _POOLING
            value = maker.inputs[0]
        if value == 0 or value not in spatial:
            return None  # the image itself, copied or thinned out: nothing was detected in it
        if stripped:
            why += ", before pooling"
        pre = self.consumed(value)
        if pre is None:
            return Final(
                value, (value,), f"{why}; no non-linearity gives it, so pre and post agree"
            )
        if len(pre) > 1:
            why += f"; its pre side is the {len(pre)} values before the concatenated branches"
        return Final(value, tuple(pre), why)

    def consumed(self, value: int) -> list[int] | None:
        """What the non-linearities behind a value consumed, through concatenation of channels."""
        maker = self.maker.get(value)
        if maker is None:
            return None
        if maker.name in NON_LINEARITIES:
            return [maker.inputs[0]]
        if maker.name in _PASSING:
            return self.consumed(maker.inputs[0])
        if maker.name == "cat" and maker.arguments.get("dim") in (1, -3):
            parts = [self.consumed(part) for part in maker.inputs]
            if all(part is not None for part in parts):
                return [value for part in parts if part is not None for value in part]
        return None
