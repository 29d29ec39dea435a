"""The sides of a layer: its output, and the input and the output of its non-linearity.

The non-linearity of a layer is the one that returns the layer's output (in a ReLU, or a residual
block that ends in one), otherwise the first one after the layer. The search for it goes from the
output through normalization, scaling by constants, permutation and addition: in conv-BN-ReLU its
input is the output of the batch norm, after a residual connection the sum. Normalization includes
what a network's code normalizes by its own statistics, also through views. Any other operation (the
next convolution, pooling, concatenation) ends the search.

`nonlinearities.py` finds the operations of a non-linearity, one or several.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from convlens.tracing.outputs.structure import POOLING, Structure
from convlens.tracing.receptive_field.storage import layout_of_view
from convlens.tracing.recording.recording import Operation
from convlens.tracing.unknown_operations import find_unknown_step

_NORMALIZATION = frozenset({
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm", "batch_norm", "_batch_norm_no_update", "native_group_norm",
    "native_layer_norm", "instance_norm", "_fused_rms_norm", "rms_norm",
})  # fmt: skip
_ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
_VIEWS = frozenset({"view", "_unsafe_view"})
_REARRANGING = frozenset({
    "permute", "transpose", "clone", "native_dropout", "contiguous", "alias", "_to_copy",
})  # fmt: skip

_NO_STOP = (
    "a non-linearity that ends inside an operation or in a part of a tensor, where no run can be "
    "stopped"
)


@dataclass(frozen=True)
class Sides:
    """The nodes on the three sides of a layer.

    Attributes:
        output: index of the node that the layer returns.
        pre: indices of the nodes that the non-linearity consumes. It is one node, except where
            branches are concatenated after their non-linearities: then it is one for each branch,
            in the order of the concatenation.
        post: index of the node that the non-linearity returns, after the concatenation.
        nonlinear: whether there is a non-linearity. Without one, `pre` and `post` are both the
            node at which the layer's channels are read.
        unfollowed: what the trace cannot follow or capture after the layer and may be its
            non-linearity, in words; empty if there is nothing.
    """

    output: int
    pre: tuple[int, ...]
    post: int
    nonlinear: bool
    unfollowed: str = ""


def find_sides(
    output: int, structure: Structure, on_image: Container[int], *, convolution: bool = False
) -> Sides:
    """Find the sides of a layer by its output.

    Args:
        output: index of the node that the layer returns.
        structure: of the recording.
        on_image: indices of the nodes that depend on the image.
        convolution: whether the layer is a convolution. Without a non-linearity, the channels of a
            convolution are read after its normalization, those of any other layer at its output.
            Default: False.
    """
    pre = structure.nonlinearity_inputs(output)
    if pre is not None:
        return Sides(output, tuple(pre), output, nonlinear=True)
    producer = structure.producers.get(output)
    # The search does not go from a pooling through an addition: by the residual connection around
    # the next block it would find the non-linearity of that block.
    pooled = producer is not None and producer.name in POOLING
    node, normalized = output, output
    passed: list[int] = []
    only_this_layer = True  # no other branch has been added so far
    while True:
        nonlinearity = structure.nonlinearities.of(node)
        if nonlinearity is not None:
            return Sides(output, (node,), nonlinearity.output, nonlinear=True)
        next_node = _next_node(node, structure, on_image)
        if next_node is None:
            nonlinearity = structure.nonlinearities.over_modules(node)
            if nonlinearity is not None:
                return Sides(output, (node,), nonlinearity.output, nonlinear=True)
        if next_node is None or (pooled and not next_node[1]):
            source = normalized if convolution else output
            unfollowed = _find_unfollowed([*passed, node], structure, on_image)
            return Sides(output, (source,), source, nonlinear=False, unfollowed=unfollowed)
        passed.append(node)
        node, is_only_input = next_node
        only_this_layer = only_this_layer and is_only_input
        if only_this_layer:
            normalized = node


def _next_node(
    node: int, structure: Structure, on_image: Container[int]
) -> tuple[int, bool] | None:
    """The node to continue the search at, and whether it depends on the image by `node` only."""
    normalized = structure.nonlinearities.normalized(node)
    if normalized is not None:
        return normalized, True
    for consumer in structure.consumers.get(node, ()):
        other_inputs = [other for other in consumer.inputs if other != node and other in on_image]
        if (
            (consumer.name in _NORMALIZATION | _REARRANGING and consumer.inputs[0] == node)
            or (consumer.name in _ARITHMETIC and not other_inputs)
            or (consumer.name == "as_strided" and _leaves_all_in_place(consumer))
        ):
            return consumer.outputs[0], True
        if consumer.name == "add":
            return consumer.outputs[0], False
        if consumer.name in _VIEWS:
            restored = _through_views(consumer, structure, on_image)
            if restored is not None:
                return restored, True
    return None


def _leaves_all_in_place(as_strided: Operation) -> bool:
    return layout_of_view(as_strided) == as_strided.arguments["layout"]


def _find_unfollowed(nodes: Iterable[int], structure: Structure, on_image: Container[int]) -> str:
    """What may be the non-linearity of one of the nodes that the search has passed, in words."""
    for node in nodes:
        if structure.nonlinearities.is_hidden(node):
            return _NO_STOP
        unknown = find_unknown_step(node, structure, on_image)
        if unknown:
            return unknown
    return ""


def _through_views(view: Operation, structure: Structure, on_image: Container[int]) -> int | None:
    """The node that has the shape of a view's input again, after normalization in between.

    Instance normalization normalizes `(1, N C, h, w)` as a batch, group normalization `(N, G, -1)`.
    """
    shapes = structure.recording.shapes
    node = view.outputs[0]
    if shapes[node] == shapes[view.inputs[0]]:
        return node
    while True:
        for consumer in structure.consumers.get(node, ()):
            if consumer.name in _VIEWS and shapes[consumer.outputs[0]] == shapes[view.inputs[0]]:
                return consumer.outputs[0]
        next_node = _next_node(node, structure, on_image)
        if next_node is None or not next_node[1]:
            return None
        node = next_node[0]
