"""What single operations are, as steps of a pointwise function: identities, affine, pointwise."""

import math
from collections.abc import Container

from convlens.tracing.outputs.elementwise import ADDING, LOOKUPS, MOVING, PRODUCTS, may_be_step
from convlens.tracing.receptive_field.rules import FAKE_QUANTIZATIONS, find_rule, pointwise
from convlens.tracing.recording.recording import NodeRef, Operation, Recording

IDENTITIES = frozenset({
    "clone", "alias", "detach", "native_dropout", "dropout", "_to_copy", "lift_fresh", "contiguous",
    "positive", *FAKE_QUANTIZATIONS,
})  # fmt: skip
AFFINE = frozenset({"add", "sub", "rsub", "neg", "mul", "div"})


class OperationKinds:
    """What operations are as functions of those of their inputs that depend on the image."""

    def __init__(self, recording: Recording, on_image: Container[int]) -> None:
        """Start with a recording.

        Args:
            recording: of the network.
            on_image: indices of the nodes that depend on the image.
        """
        self._recording = recording
        self._on_image = on_image

    def may_be_step(self, operation: Operation) -> bool:
        """Whether an operation may be a step of a pointwise function."""
        return self.is_pointwise(operation) or may_be_step(operation, self._recording.shapes)

    def is_pointwise(self, operation: Operation) -> bool:
        """Whether each element of the result depends on that at its own position alone."""
        if operation.name == "index_put":  # x[x < 0] = 0
            return self._writes_number_by_mask(operation)
        return operation.name in IDENTITIES or find_rule(operation) is pointwise

    def _writes_number_by_mask(self, operation: Operation) -> bool:
        shapes, arguments = self._recording.shapes, operation.arguments
        (mask,) = arguments["indices"] if len(arguments["indices"]) == 1 else (None,)
        return (
            isinstance(mask, NodeRef)
            and shapes[mask.node] == shapes[operation.outputs[0]]
            and math.prod(shapes[arguments["values"].node]) == 1
        )

    def is_affine(self, operation: Operation) -> bool:
        """Whether an operation is an affine function of its inputs that depend on the image."""
        if operation.name in IDENTITIES or operation.name in ("add", "sub", "rsub", "neg"):
            return True
        image_inputs = self.image_inputs(operation)
        if operation.name in LOOKUPS:
            return image_inputs == [operation.inputs[0]]
        if operation.name in MOVING | ADDING:
            return True
        if operation.name == "div":
            return image_inputs == [operation.inputs[0]] and not operation.arguments.get(
                "rounding_mode"
            )
        if operation.name == "where":
            return operation.inputs[0] not in image_inputs
        return operation.name in PRODUCTS | {"mul"} and len(image_inputs) == 1

    def scales_by_numbers(self, operation: Operation) -> bool:
        """Whether an operation is `a x + b` with numbers a and b, the same for all elements."""
        if operation.name not in AFFINE or not self.is_affine(operation):
            return False
        image_inputs = self.image_inputs(operation)
        numbers = [node for node in operation.inputs if node not in image_inputs]
        shapes = self._recording.shapes
        return len(image_inputs) == 1 and all(math.prod(shapes[node]) == 1 for node in numbers)

    def scales_by_channel(self, operation: Operation) -> bool:
        """Whether an operation is affine, but not with the same numbers for all elements."""
        if operation.name in IDENTITIES | MOVING | ADDING | PRODUCTS:
            return False
        if len(set(self.image_inputs(operation))) > 1:
            return False
        return self.is_affine(operation) and not self.scales_by_numbers(operation)

    def image_inputs(self, operation: Operation) -> list[int]:
        """The inputs that depend on the image; one that is read twice occurs twice."""
        return [node for node in operation.inputs if node in self._on_image]
