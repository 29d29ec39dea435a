"""The structure of a recording: producers, consumers, non-linearities, logits, final layer."""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cached_property

from convlens.tracing.outputs.final_activation import (
    FinalActivation,
    find_final_activation,
    passes_through,
)
from convlens.tracing.outputs.nonlinearities import Nonlinearities
from convlens.tracing.outputs.operation_kinds import IDENTITIES
from convlens.tracing.receptive_field.rules import reads_only_shapes
from convlens.tracing.recording.ancestors import find_ancestor_nodes
from convlens.tracing.recording.recording import Operation, Recording

# Operations that the search for the final layer goes back over: they compute no features.
POOLING = frozenset({
    "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
})  # fmt: skip


@dataclass(frozen=True)
class FinalLayer:
    """The final convolutional layer: the last spatial node that every path passes through.

    Attributes:
        post: index of the node that the non-linearity returns.
        pre: indices of the nodes that it consumes; several where branches are concatenated after
            their non-linearities, in the order of the concatenation along the channels.
        reason: why this layer was chosen, in words.
    """

    post: int
    pre: tuple[int, ...]
    reason: str


class Structure:
    """The producer and the consumers of each node of a recording, and what follows from them.

    Attributes:
        recording: the recording.
        producers: the operation that returns each node, by the node's index.
        consumers: the operations that read each node, in the order of execution.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.producers: dict[int, Operation] = {}
        self.consumers: dict[int, list[Operation]] = {}
        for operation in recording.operations:
            for node in operation.outputs:
                self.producers[node] = operation
            for node in operation.inputs:
                self.consumers.setdefault(node, []).append(operation)

    @cached_property
    def on_image(self) -> set[int]:
        """Indices of the nodes whose values depend on the image."""
        on_image = {0}
        for operation in self.recording.operations:
            if not on_image.isdisjoint(operation.inputs) and not reads_only_shapes(operation):
                on_image.update(operation.outputs)
        return on_image

    @cached_property
    def nonlinearities(self) -> Nonlinearities:
        """The non-linearities, also those that are written as several operations."""
        return Nonlinearities(self.recording, self.producers, self.consumers, self.on_image)

    def is_pre(self, node: int) -> bool:
        """Whether a non-linearity consumes the node."""
        return self.nonlinearities.is_pre(node)

    def is_post(self, node: int) -> bool:
        """Whether a non-linearity returns the node."""
        return self.nonlinearities.is_post(node)

    def nonlinearity_input(self, node: int) -> int | None:
        """The input of the non-linearity that returns a node; None without one."""
        nonlinearity = self.nonlinearities.by_output.get(node)
        return None if nonlinearity is None else nonlinearity.input

    def logits(self) -> int:
        """The node that the network returns, or the input of its final softmax or sigmoid."""
        return self.before_squeeze(self.final_activation.node)

    @cached_property
    def final_activation(self) -> FinalActivation:
        """How the outputs are to be read."""
        return find_final_activation(self.recording, self.producers, self.on_image)

    def before_squeeze(self, node: int) -> int:
        """The node `(N, classes)` that became this one only by another shape; else the node itself.

        A network may squeeze `(N, 1)` to `(N,)`, and apply its softmax to `(N, 1, classes)`.
        """
        shapes = self.recording.shapes
        returned = shapes[self.recording.output]
        column = node

        def is_found() -> bool:
            if len(shapes[node]) < 2:
                return len(shapes[column]) >= 2
            return shapes[column] == returned

        if len(shapes[node]) == 2 or (len(shapes[node]) > 2 and len(returned) != 2):
            return node
        while (
            not is_found()
            and (producer := self.producers.get(column))
            and passes_through(producer, shapes)
        ):
            column = producer.inputs[0]
        return column if is_found() else node

    def nodes_on_every_path(self, end: int) -> list[int]:
        """The nodes on every path from the image to `end`, in the order of execution.

        A node is on every path if and only if no node that depends on the image, was computed
        before it, and leads to `end` is read after it.
        """
        relevant = self.on_image & find_ancestor_nodes(self.recording.operations, [end])
        computed_at = {0: 0}
        last_read = dict.fromkeys(relevant, 0)
        for time, operation in enumerate(self.recording.operations, start=1):
            computed_at.update(dict.fromkeys(operation.outputs, time))
            if relevant.intersection(operation.outputs):
                for node in relevant.intersection(operation.inputs):
                    last_read[node] = time
        on_every_path = []
        latest_read = 0  # of all nodes so far
        siblings = Counter(computed_at[node] for node in relevant)
        for node in sorted(relevant, key=lambda node: (computed_at[node], node)):
            # Where an operation returns several nodes, none is on the paths through the others.
            if latest_read <= computed_at[node] and siblings[computed_at[node]] == 1:
                on_every_path.append(node)
            latest_read = max(latest_read, last_read[node])
        return on_every_path

    def final_layer(self, spatial: Iterable[int]) -> FinalLayer | None:
        """The final convolutional layer among the given spatial nodes, if there is one.

        The search starts at the last spatial node that every path passes through, and goes back
        over pooling and operations that return their input unchanged. If the output itself is
        spatial (segmentation), it is the last non-linearity that every path passes through.

        Args:
            spatial: indices of the nodes that have rows and columns.
        """
        end = self.logits()
        spatial = {0, *spatial}
        candidates = [
            node for node in self.nodes_on_every_path(end) if node in spatial and node != 0
        ]
        if end in spatial:
            candidates = [node for node in candidates if self.is_post(node)]
            reason = "the last non-linearity before the output, which is itself a map"
        else:
            reason = "the last spatial node that every path passes through"
        if not candidates:
            return None
        source = node = candidates[-1]
        pooled_source = pooled = False
        while (producer := self.producers.get(source)) and producer.name in POOLING | IDENTITIES:
            if self.is_post(source) or len(self.recording.shapes[producer.inputs[0]]) != 4:
                break
            pooled_source = pooled_source or producer.name in POOLING
            source = producer.inputs[0]
            if source in spatial:
                node, pooled = source, pooled_source
        if node == 0:
            return None  # the image itself, copied or pooled, is not a layer
        node = self._before_permutations(node, spatial)
        if pooled:
            reason += ", before pooling"
        pre = self.nonlinearity_inputs(node)
        if pre is None:
            return FinalLayer(
                node, (node,), f"{reason}; no non-linearity returns it, so pre and post agree"
            )
        if not spatial.issuperset(pre):
            return FinalLayer(
                node, (node,), f"{reason}; what its non-linearity consumes cannot be captured"
            )
        if len(pre) > 1:
            reason += f"; its pre side is the {len(pre)} nodes before the concatenated branches"
        return FinalLayer(node, tuple(pre), reason)

    def _before_permutations(self, node: int, spatial: Container[int]) -> int:
        """What a non-linearity returns, if the node is that map with its dimensions permuted."""
        source = node
        while (producer := self.producers.get(source)) and producer.name in (
            "permute",
            "transpose",
        ):
            source = producer.inputs[0]
            if source in spatial and self.is_post(source):
                return source
        return node

    def nonlinearity_inputs(self, node: int) -> list[int] | None:
        """The inputs of the non-linearities that return a node; None without one.

        For a concatenation of channels there is one for each branch, if each branch ends in a
        non-linearity; branches with the same input share it.
        """
        producer = self.producers.get(node)
        if producer is None:
            return None
        input_node = self.nonlinearity_input(node)
        if input_node is not None:
            return [input_node]
        if producer.name in IDENTITIES:
            return self.nonlinearity_inputs(producer.inputs[0])
        if producer.name == "cat" and producer.arguments.get("dim") in (1, -3):
            parts = [self.nonlinearity_inputs(part) for part in producer.inputs]
            if all(part is not None for part in parts):
                return list(dict.fromkeys(node for part in parts for node in part or ()))
        return None
