"""The non-linearities of a recording, also those that are written as several operations.

A non-linearity is a pointwise function of one node that is not affine: `relu(x)`, but also
`x * sigmoid(x)`, `x * relu6(x + 3) / 6`, `where(x > 0, x, 0.1 * x)` or `stack([x, zeros]).amax(0)`.
Where a network's code computes it by several operations, its input is the one node of which all of
them are functions, and its output is the last of them.

The boundaries of modules decide what belongs to it at both ends. A module that is a pointwise
function of its input is one non-linearity. In the code of a larger module, scaling and shifting by
numbers belong to the non-linearity if the same code computes it, so that `relu6(x + 3) / 6` is the
hard sigmoid of x. Scaling by one number for each channel is a normalization and does not belong to
it.
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from convlens.tracing.outputs.layouts import REARRANGEMENTS, find_undone
from convlens.tracing.outputs.stacks import (
    LINEAR_REDUCTIONS,
    STACK_REDUCTIONS,
    STACKING,
    is_stack_step,
)
from convlens.tracing.receptive_field.rules import FAKE_QUANTIZATIONS, find_rule, pointwise
from convlens.tracing.recording.recording import (
    ModuleRun,
    NodeRef,
    Operation,
    RecordedCall,
    Recording,
)

IDENTITIES = frozenset({
    "clone", "alias", "detach", "native_dropout", "dropout", "_to_copy", "lift_fresh", "contiguous",
    "positive", *FAKE_QUANTIZATIONS,
})  # fmt: skip
_AFFINE = frozenset({"add", "sub", "rsub", "neg", "mul", "div"})
# Their outputs are masks, not values.
_PREDICATES = frozenset({
    "gt", "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "isfinite", "logical_and", "logical_or",
    "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not", "signbit",
})  # fmt: skip
# Operations by which a node is normalized with statistics of itself, and those between them.
_STATISTICS = frozenset({
    "mean", "sum", "var", "std", "var_mean", "std_mean", "amax", "amin", "linalg_vector_norm",
    "norm", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "max_pool2d_with_indices",
})  # fmt: skip
_BETWEEN_STATISTICS = _AFFINE | IDENTITIES | frozenset({
    "view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "permute", "transpose",
    "constant_pad_nd", "slice", "pow", "sqrt", "rsqrt", "reciprocal", "abs", "clamp", "clamp_min",
    "maximum",
})  # fmt: skip


@dataclass(frozen=True)
class Nonlinearity:
    """A pointwise function of one node that is not affine.

    Attributes:
        input: index of the node of which it is a function.
        output: index of the node that it returns.
        operations: what computes it, the last operation first.
        complete: whether it ends with `output`. If not, as in `self.act(x) * 2`, what follows the
            non-linearity is not in the code of the same module, but still a function of `input`.
    """

    input: int
    output: int
    operations: tuple[Operation, ...]
    complete: bool = True


class Nonlinearities:
    """The non-linearities of a recording, by the nodes that they consume and return.

    Attributes:
        by_output: the non-linearity that returns a node. It may be a step of a larger one.
        by_input: the non-linearities that consume a node and are not steps of larger ones, in the
            order of execution.
    """

    def __init__(
        self,
        recording: Recording,
        producers: Mapping[int, Operation],
        consumers: Mapping[int, Sequence[Operation]],
        on_image: Container[int],
    ) -> None:
        """Find the non-linearities of a recording.

        Args:
            recording: of the network.
            producers: the operation that returns each node.
            consumers: the operations that read each node.
            on_image: indices of the nodes that depend on the image.
        """
        self._recording = recording
        self._producers = producers
        self._consumers = consumers
        self._on_image = on_image
        self._module_inputs = {
            event.output_nodes[0]: event.input_node
            for event in recording.events
            if isinstance(event, ModuleRun) and event.call.path and event.output_nodes
        }
        self.by_output: dict[int, Nonlinearity] = {}
        self._normalizations: dict[int, Nonlinearity] = {}  # by input; the last one of each
        for operation in recording.operations:
            if operation.outputs[0] not in on_image or not self._is_pointwise(operation):
                continue
            nonlinearity = self._find(operation)
            if nonlinearity is not None:
                self.by_output[nonlinearity.output] = nonlinearity
            if nonlinearity is None and len(set(self._image_inputs(operation))) > 1:
                normalization = self._trace_back(operation.outputs[0], with_statistics=True)
                if normalization is not None:
                    self._add_normalization(normalization)
        complete = [
            self._with_undone_layout(nonlinearity)
            for nonlinearity in self.by_output.values()
            if nonlinearity.complete
        ]
        self.by_output |= {nonlinearity.output: nonlinearity for nonlinearity in complete}
        steps = {step for nonlinearity in complete for step in self._inner_nodes(nonlinearity)}
        self.by_input: dict[int, list[Nonlinearity]] = {}
        for nonlinearity in complete:
            if nonlinearity.output not in steps:
                self.by_input.setdefault(nonlinearity.input, []).append(nonlinearity)

    def is_pre(self, node: int) -> bool:
        """Whether a non-linearity consumes the node."""
        return node in self.by_input

    def is_post(self, node: int) -> bool:
        """Whether a non-linearity returns the node."""
        nonlinearity = self.by_output.get(node)
        return nonlinearity is not None and nonlinearity in self.by_input.get(
            nonlinearity.input, ()
        )

    def of(self, node: int) -> Nonlinearity | None:
        """The first non-linearity that consumes a node, if there is one.

        Not one by which the node is normalized: the square of x in `x / sqrt(mean(x ** 2))`.
        """
        normalization = self._normalizations.get(node)
        inner = set() if normalization is None else set(self._inner_nodes(normalization))
        candidates = self.by_input.get(node, [])
        return next(
            (nonlinearity for nonlinearity in candidates if nonlinearity.output not in inner), None
        )

    def normalized(self, node: int) -> int | None:
        """The node to which the network's code normalizes a node by statistics of itself."""
        normalization = self._normalizations.get(node)
        return None if normalization is None else normalization.output

    def _add_normalization(self, nonlinearity: Nonlinearity) -> None:
        """Keep the first normalization of a node, or the larger one of which it is a step."""
        first = self._normalizations.get(nonlinearity.input)
        if first is None or first.output in self._inner_nodes(nonlinearity):
            self._normalizations[nonlinearity.input] = nonlinearity

    def _find(self, operation: Operation) -> Nonlinearity | None:
        """The non-linearity that an operation completes."""
        if operation.name in _PREDICATES:
            return None
        nonlinearity = self._trace_back(operation.outputs[0])
        if nonlinearity is None:
            return None
        module_input = self._module_inputs.get(nonlinearity.output)
        if module_input is not None:
            whole = self._extend_back(nonlinearity, until=module_input)
            if whole is not None:
                return whole
        core = self._without_last_affine(nonlinearity.operations)
        calls = {step.call for step in core}
        is_complete = all(step.call in calls for step in nonlinearity.operations)
        extended = self._extend_back(nonlinearity, calls=calls)
        return replace(extended or nonlinearity, complete=is_complete)

    def _with_undone_layout(self, nonlinearity: Nonlinearity) -> Nonlinearity:
        """The non-linearity with the rearrangements around it, if the last undo the first."""
        call = nonlinearity.operations[0].call
        operations = nonlinearity.operations
        before: list[Operation] = []
        node = nonlinearity.input
        while (
            (earlier := self._producers.get(node)) is not None
            and earlier.name in REARRANGEMENTS
            and earlier.call == call
            and self._is_read_only_by(node, (*operations, *before))
        ):
            before.append(earlier)
            node = earlier.inputs[0]
        after: list[Operation] = []
        node = nonlinearity.output
        while node != self._recording.output and len(self._consumers.get(node, ())) == 1:
            (later,) = self._consumers[node]
            if later.name not in REARRANGEMENTS or later.call != call:
                break
            after.append(later)
            node = later.outputs[0]
        undone = find_undone(before, after, self._recording.shapes, self._recording.node_names)
        if undone is None:
            return nonlinearity
        before, after = map(list, undone)
        return Nonlinearity(
            before[-1].inputs[0], after[-1].outputs[0], (*reversed(after), *operations, *before)
        )

    def _trace_back(self, output: int, *, with_statistics: bool = False) -> Nonlinearity | None:
        """The fewest operations by which a node is a function of one node, and not an affine one.

        Args:
            output: index of the node.
            with_statistics: whether the function may use statistics (means, norms) of its input;
                it then has to use one.
        """
        operations: list[Operation] = []
        open_nodes = {output}
        while True:
            # The latest node cannot be the input of the function while others are open.
            node = max(open_nodes)
            operation = self._producers.get(node)
            if operation is None or not self._may_contain(operation, with_statistics):
                return None
            if len(open_nodes) == 1 and self._scales_by_channel(operation):
                return None
            open_nodes.remove(node)
            open_nodes.update(self._image_inputs(operation))
            operations.append(operation)
            if len(open_nodes) == 1 and self._is_whole(operations, with_statistics):
                (entry,) = open_nodes
                shapes = self._recording.shapes
                if shapes[entry] == shapes[output]:
                    return Nonlinearity(entry, output, tuple(operations))
                if entry not in self._producers or self._producers[entry].name not in STACKING:
                    return None

    def _may_contain(self, operation: Operation, with_statistics: bool) -> bool:
        if with_statistics:
            return operation.name in _STATISTICS | _BETWEEN_STATISTICS
        return self._is_pointwise(operation)

    def _is_whole(self, operations: Sequence[Operation], with_statistics: bool) -> bool:
        if with_statistics:
            return any(operation.name in _STATISTICS for operation in operations)
        return not all(self._is_affine(operation) for operation in operations)

    def _extend_back(
        self,
        nonlinearity: Nonlinearity,
        *,
        until: int | None = None,
        calls: Container[RecordedCall | None] = (),
    ) -> Nonlinearity | None:
        """The non-linearity with what is done to its input before, if nothing else reads that.

        Args:
            nonlinearity: the non-linearity.
            until: extend it as far as this node, the input of a module of which it is the output;
                the result is None if it is no function of that node.
            calls: without `until`, extend it by what is in the code of these module calls.
        """
        while nonlinearity.input != until:
            operation = self._producers.get(nonlinearity.input)
            if (
                operation is None
                or (until is None and operation.call not in calls)
                or not self._is_read_only_by(nonlinearity.input, nonlinearity.operations)
            ):
                break
            earlier = self.by_output.get(nonlinearity.input)
            if earlier is None and self._scales_by_numbers(operation):
                (entry,) = self._image_inputs(operation)
                earlier = Nonlinearity(entry, nonlinearity.input, (operation,))
            if earlier is None:
                break
            operations = (*nonlinearity.operations, *earlier.operations)
            nonlinearity = Nonlinearity(earlier.input, nonlinearity.output, operations)
        return nonlinearity if until is None or nonlinearity.input == until else None

    def _without_last_affine(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """The operations without those after the last one that is not affine in one node."""
        for index, operation in enumerate(operations):
            if not self._is_affine(operation) or len(set(self._image_inputs(operation))) > 1:
                return operations[index:]
        return operations

    def _inner_nodes(self, nonlinearity: Nonlinearity) -> Iterable[int]:
        """The nodes inside a function that nothing outside it reads."""
        for operation in nonlinearity.operations:
            for node in operation.outputs:
                if node != nonlinearity.output and self._is_read_only_by(
                    node, nonlinearity.operations
                ):
                    yield node

    def _is_read_only_by(self, node: int, operations: Container[Operation]) -> bool:
        return node != self._recording.output and all(
            consumer in operations
            for consumer in self._consumers.get(node, ())
            if any(output in self._on_image for output in consumer.outputs)
        )

    def _is_pointwise(self, operation: Operation) -> bool:
        if operation.name == "index_put":  # x[x < 0] = 0
            return self._writes_number_by_mask(operation)
        if operation.name in STACKING | STACK_REDUCTIONS:
            return is_stack_step(operation, self._producers, self._recording.shapes)
        return operation.name in IDENTITIES or find_rule(operation) is pointwise

    def _writes_number_by_mask(self, operation: Operation) -> bool:
        shapes, arguments = self._recording.shapes, operation.arguments
        (mask,) = arguments["indices"] if len(arguments["indices"]) == 1 else (None,)
        return (
            isinstance(mask, NodeRef)
            and shapes[mask.node] == shapes[operation.outputs[0]]
            and math.prod(shapes[arguments["values"].node]) == 1
        )

    def _is_affine(self, operation: Operation) -> bool:
        """Whether an operation is an affine function of its inputs that depend on the image."""
        if operation.name in IDENTITIES or operation.name in ("add", "sub", "rsub", "neg"):
            return True
        if operation.name in STACKING | LINEAR_REDUCTIONS:
            return True
        image_inputs = self._image_inputs(operation)
        if operation.name == "div":
            return image_inputs == [operation.inputs[0]] and not operation.arguments.get(
                "rounding_mode"
            )
        if operation.name == "where":
            return operation.inputs[0] not in image_inputs
        return operation.name == "mul" and len(image_inputs) == 1

    def _scales_by_numbers(self, operation: Operation) -> bool:
        """Whether an operation is `a x + b` with numbers a and b, the same for all elements."""
        if operation.name not in _AFFINE or not self._is_affine(operation):
            return False
        image_inputs = self._image_inputs(operation)
        numbers = [node for node in operation.inputs if node not in image_inputs]
        shapes = self._recording.shapes
        return len(image_inputs) == 1 and all(math.prod(shapes[node]) == 1 for node in numbers)

    def _scales_by_channel(self, operation: Operation) -> bool:
        """Whether an operation is affine, but not with the same numbers for all elements."""
        if operation.name in IDENTITIES | STACKING | LINEAR_REDUCTIONS:
            return False
        if len(set(self._image_inputs(operation))) > 1:
            return False
        return self._is_affine(operation) and not self._scales_by_numbers(operation)

    def _image_inputs(self, operation: Operation) -> list[int]:
        """The inputs that depend on the image; one that is read twice occurs twice."""
        return [node for node in operation.inputs if node in self._on_image]
