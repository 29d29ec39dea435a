"""The sides of a layer: what the layer returns, what its non-linearity consumes, what that returns.

The non-linearity of a layer is the one that produces the layer's output (a ReLU, a residual block
that ends in one), else the first one after the layer. From the output it is searched for through
normalization, scaling by constants, permutation and addition: in conv-BN-ReLU it consumes the
batch norm's output, after a residual connection the sum. Other operations (the next convolution,
pooling, concatenation) end the search.
"""

from collections.abc import Container
from dataclasses import dataclass

from convlens.tracing.recording import Operation
from convlens.tracing.structure import NON_LINEARITIES, POOLING, Structure

_NORMALIZATION = frozenset({
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm", "batch_norm", "_batch_norm_no_update", "native_group_norm",
    "native_layer_norm", "instance_norm", "_fused_rms_norm", "rms_norm",
})  # fmt: skip
_ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
_REARRANGING = frozenset({"permute", "transpose", "clone", "native_dropout", "contiguous", "alias"})
_GATES = frozenset({"sigmoid", "hardsigmoid"})  # times their own input they are a non-linearity


@dataclass(frozen=True)
class Sides:
    """The nodes on the three sides of a layer.

    Attributes:
        output: index of the node that the layer returns.
        pre: indices of the nodes that the non-linearity consumes: one, or one for each branch
            where branches are concatenated after their non-linearities, in the order of the
            concatenation.
        post: index of the node that the non-linearity returns, after the concatenation.
        nonlinear: whether there is a non-linearity. Without one, `pre` and `post` are both the
            node at which the layer's channels are read.
    """

    output: int
    pre: tuple[int, ...]
    post: int
    nonlinear: bool


def find_sides(
    output: int, structure: Structure, on_image: Container[int], *, convolution: bool = False
) -> Sides:
    """The sides of a layer by its output.

    Args:
        output: index of the node that the layer returns.
        structure: of the recording.
        on_image: indices of the nodes that depend on the image.
        convolution: the output is a convolution's. Without a non-linearity, its channels are read
            after its normalization; those of any other layer are read at its output.
    """
    consumed = structure.nonlinearity_inputs(output)
    if consumed is not None:
        return Sides(output, tuple(consumed), output, nonlinear=True)
    gated = structure.nonlinearity_input(output)
    if gated is not None:
        return Sides(output, (gated,), output, nonlinear=True)
    producer = structure.producers.get(output)
    # What a pooling returns is no pre-activation any more: a residual connection around the next
    # block would lead to that block's non-linearity.
    pooled = producer is not None and producer.name in POOLING
    node, normalized = output, output
    own = True
    while True:
        consumers = structure.consumers.get(node, [])
        for consumer in consumers:
            if consumer.name in NON_LINEARITIES:
                return Sides(output, (node,), _returned(node, consumer, consumers), nonlinear=True)
        following = (_following(node, consumer, on_image) for consumer in consumers)
        step = next(filter(None, following), None)
        if step is None or (pooled and not step[1]):
            read = normalized if convolution else output
            return Sides(output, (read,), read, nonlinear=False)
        node, alone = step
        own = own and alone
        if own:
            normalized = node


def _following(node: int, consumer: Operation, on_image: Container[int]) -> tuple[int, bool] | None:
    """The node at which the search goes on; and whether nothing else of the image entered it."""
    others = [other for other in consumer.inputs if other != node and other in on_image]
    if consumer.name in _NORMALIZATION | _REARRANGING and consumer.inputs[0] == node:
        return consumer.outputs[0], True
    if consumer.name in _ARITHMETIC and not others:
        return consumer.outputs[0], True
    if consumer.name == "add":
        return consumer.outputs[0], False
    return None


def _returned(node: int, nonlinearity: Operation, consumers: list[Operation]) -> int:
    """The non-linearity's output; of x · sigmoid(x), written out, the product."""
    gate = nonlinearity.outputs[0]
    if nonlinearity.name in _GATES:
        for other in consumers:
            if other.name == "mul" and {node, gate} <= set(other.inputs):
                return other.outputs[0]
    return gate
