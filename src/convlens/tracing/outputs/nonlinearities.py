"""The non-linearities of a recording, also those that are written as several operations.

A non-linearity is a pointwise function of one node that is not affine: `relu(x)`, but also
`x * sigmoid(x)`, `x * relu6(x + 3) / 6`, `where(x > 0, x, 0.1 * x)` or `stack([x, zeros]).amax(0)`.
Where a network's code computes it by several operations, its input is the one node of which all of
them are functions, and its output is the last of them. Operations that move or combine elements
may be among them if each element depends on that at its own position alone (`elementwise.py`).

The boundaries of modules decide what belongs to it at both ends. A module that is a pointwise
function of its input is one non-linearity. In the code of a larger module, scaling and shifting by
numbers belong to the non-linearity if the same code computes it, so that `relu6(x + 3) / 6` is the
hard sigmoid of x. Scaling by one number for each channel, or of a part of the map, does not belong
to it: it is a normalization, in any layout of the map.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from convlens.tracing.capture_points import find_capture_point
from convlens.tracing.outputs.elementwise import JOINING, is_elementwise
from convlens.tracing.outputs.operation_kinds import AFFINE, IDENTITIES, OperationKinds
from convlens.tracing.recording.recording import (
    ModuleRun,
    Operation,
    RecordedCall,
    Recording,
)

# Their outputs are masks, not values.
_PREDICATES = frozenset({
    "gt", "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "isfinite", "logical_and", "logical_or",
    "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not", "signbit",
})  # fmt: skip
# The search back from a node ends after as many operations: in a scan over columns it would go back
# over all of them at each step.
_MAX_OPERATIONS = 128
_MAP_DIMS = 4  # images, channels, rows and columns
# Operations by which a node is normalized with statistics of itself, and those between them.
_STATISTICS = frozenset({
    "mean", "sum", "var", "std", "var_mean", "std_mean", "amax", "amin", "linalg_vector_norm",
    "norm", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "max_pool2d_with_indices",
})  # fmt: skip
_BETWEEN_STATISTICS = AFFINE | IDENTITIES | frozenset({
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
        self._kinds = OperationKinds(recording, on_image)
        self._module_inputs = {
            event.output_nodes[0]: event.input_node
            for event in recording.events
            if isinstance(event, ModuleRun) and event.call.path and event.output_nodes
        }
        self.by_output: dict[int, Nonlinearity] = {}
        self._hidden: set[int] = set()
        self._normalizations: dict[int, Nonlinearity] = {}  # by input; the last one of each
        for operation in recording.operations:
            if operation.outputs[0] not in on_image or not self._kinds.may_be_step(operation):
                continue
            nonlinearity = self._find(operation)
            if nonlinearity is not None:
                self.by_output[nonlinearity.output] = nonlinearity
                continue
            combines = len(set(self._kinds.image_inputs(operation))) > 1
            if combines and self._kinds.is_pointwise(operation):
                normalization = self._trace_back(operation.outputs[0], with_statistics=True)
                if normalization is not None:
                    self._add_normalization(normalization)
        complete = [
            nonlinearity for nonlinearity in self.by_output.values() if nonlinearity.complete
        ]
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

    def over_modules(self, node: int) -> Nonlinearity | None:
        """The first non-linearity of a node that ends in the code of another module.

        For example, the code of a block flattens a map, and gives what a module returns its shape.
        """
        incomplete = (step for step in self.by_output.values() if not step.complete)
        return next((step for step in incomplete if step.input == node), None)

    def is_hidden(self, node: int) -> bool:
        """Whether a non-linearity consumes the node whose output cannot be captured."""
        return node in self._hidden

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

    def _trace_back(self, output: int, *, with_statistics: bool = False) -> Nonlinearity | None:
        """The fewest operations by which a node is a function of one node, and not an affine one.

        Args:
            output: index of the node.
            with_statistics: whether the function may use statistics (means, norms) of its input;
                it then has to use one. Default: False.
        """
        operations: list[Operation] = []
        open_nodes = {output}
        while len(operations) < _MAX_OPERATIONS:
            # The latest node cannot be the input of the function while others are open.
            operation = self._producers.get(max(open_nodes))
            if operation is None or not self._may_contain(operation, with_statistics):
                return None
            if len(open_nodes) == 1 and self._scales_input(operation, operations):
                return None
            open_nodes.difference_update(operation.outputs)
            open_nodes.update(self._kinds.image_inputs(operation))
            operations.append(operation)
            if len(open_nodes) == 1 and self._follow_nonlinearity(operations, *open_nodes):
                return None
            if len(open_nodes) == 1 and self._is_whole(operations, with_statistics):
                (entry,) = open_nodes
                shapes = self._recording.shapes
                if shapes[entry] == shapes[output]:
                    if with_statistics or self._is_elementwise(operations, entry, output):
                        return Nonlinearity(entry, output, tuple(operations))
                elif with_statistics:
                    return None
        return None

    def _is_elementwise(self, operations: Sequence[Operation], entry: int, output: int) -> bool:
        if not {entry, output}.isdisjoint(self._recording.complex_nodes):
            return False  # maps hold real numbers
        if all(self._kinds.is_pointwise(operation) for operation in operations):
            return True
        steps, entries = self._steps_from_known(operations, entry, output)
        if not is_elementwise(self._recording, steps[::-1], entries, output):
            return False
        if self._can_be_captured(entry) and self._can_be_captured(output):
            return True
        self._hidden.add(entry)
        return False

    def _steps_from_known(
        self, operations: Sequence[Operation], entry: int, output: int
    ) -> tuple[list[Operation], set[int]]:
        """The operations after the nodes that are known to be non-linearities of the entry.

        A sum of many terms is then not followed again from the entry for each term.

        Returns:
            The operations, the last one first, and the nodes that they read: the entry, and those.
        """
        steps: list[Operation] = []
        needed, entries = {output}, {entry}
        for operation in operations:
            if needed.isdisjoint(operation.outputs):
                continue
            steps.append(operation)
            for node in self._kinds.image_inputs(operation):
                known = self.by_output.get(node)
                (entries if known is not None and known.input == entry else needed).add(node)
        return steps, entries

    def _can_be_captured(self, node: int) -> bool:
        if node == 0:
            return True
        names = self._recording.node_names.get(node, ())
        consumers = list(self._consumers.get(node, ()))
        return find_capture_point(names, self._producers.get(node), consumers) is not None

    def _may_contain(self, operation: Operation, with_statistics: bool) -> bool:
        if with_statistics:
            return operation.name in _STATISTICS | _BETWEEN_STATISTICS
        return self._kinds.may_be_step(operation)

    def _is_whole(self, operations: Sequence[Operation], with_statistics: bool) -> bool:
        if with_statistics:
            return any(operation.name in _STATISTICS for operation in operations)
        return not all(self._kinds.is_affine(operation) for operation in operations)

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
                the result is None if it is no function of that node. Default: none.
            calls: without `until`, extend it by what is in the code of these module calls. Default:
                none.
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
            if earlier is None and self._kinds.scales_by_numbers(operation):
                (entry,) = self._kinds.image_inputs(operation)
                earlier = Nonlinearity(entry, nonlinearity.input, (operation,))
            if earlier is None:
                break
            operations = (*nonlinearity.operations, *earlier.operations)
            nonlinearity = Nonlinearity(earlier.input, nonlinearity.output, operations)
        return nonlinearity if until is None or nonlinearity.input == until else None

    def _without_last_affine(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """The operations without those after the last one that is not affine in one node."""
        for index, operation in enumerate(operations):
            combines = len(set(self._kinds.image_inputs(operation))) > 1
            if combines or not self._kinds.is_affine(operation):
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

    def _follow_nonlinearity(self, operations: Sequence[Operation], entry: int) -> bool:
        """Whether operations follow a non-linearity and are no part of a larger one.

        They scale what it returns by channels, or parts of it, or they flatten a map.

        Args:
            operations: the last operation first.
            entry: index of the one node that they read.
        """
        if entry not in self.by_output:
            return False
        if not all(self._kinds.is_affine(operation) for operation in operations):
            return False
        shapes, (output, *_) = self._recording.shapes, operations[0].outputs
        if len(shapes[entry]) == _MAP_DIMS > len(shapes[output]):
            return True
        if len(shapes[entry]) != len(shapes[output]):
            return False
        names = {operation.name for operation in operations}
        return any(map(self._kinds.scales_by_channel, operations)) or not (
            names.isdisjoint(JOINING) or names.isdisjoint(AFFINE)
        )

    def _scales_input(self, operation: Operation, later: Sequence[Operation]) -> bool:
        """Whether an operation scales by channels what a non-linearity among later ones reads."""
        shapes, (output, *_) = self._recording.shapes, operation.outputs
        if not later or len(shapes[output]) != len(shapes[later[0].outputs[0]]):
            return False
        if not self._kinds.scales_by_channel(operation):
            return False
        candidates = (self.by_output.get(node) for step in later for node in step.outputs)
        return any(nonlinearity and nonlinearity.input == output for nonlinearity in candidates)

    def _is_read_only_by(self, node: int, operations: Container[Operation]) -> bool:
        return node != self._recording.output and all(
            consumer in operations
            for consumer in self._consumers.get(node, ())
            if any(output in self._on_image for output in consumer.outputs)
        )
