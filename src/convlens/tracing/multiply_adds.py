"""The number of multiply-adds of each recorded operation, for one image.

Convolutions, matrix products, attention and recurrent layers have a formula. What works on each
element alone, moves, pools, normalizes or looks up elements counts 0. An operation that reads
parameters and is none of these is not counted, and the total of the network is a lower bound.
"""

import math
from collections.abc import Iterable

from convlens.tracing.operation_view import OperationView
from convlens.tracing.receptive_field.rules import find_rule
from convlens.tracing.recording.recording import NodeRef, Operation, Recording
from convlens.tracing.registry import CostRule, registered_cost_rule


def count_multiply_adds(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> int:
    """Count the multiply-adds of an operation; 0 for one without a formula.

    Args:
        operation: the recorded operation.
        shapes: shape of each node of the recording, by its index.
    """
    rule = _find_formula(operation)
    return rule(OperationView(operation, shapes)) if rule is not None else 0


def find_uncounted(recording: Recording, on_image: Iterable[int]) -> list[Operation]:
    """The operations that combine parameters with the image and whose cost is not known.

    Args:
        recording: of the network.
        on_image: indices of the nodes that depend on the image.
    """
    on_image = set(on_image)
    weights = set(recording.parameters)
    uncounted = []
    for operation in recording.operations:
        if weights.isdisjoint(operation.inputs):
            continue
        if on_image.isdisjoint(operation.outputs):
            weights.update(operation.outputs)  # weights that are computed from parameters
        elif _find_formula(operation) is None and not _costs_nothing(operation):
            uncounted.append(operation)
    return uncounted


def _find_formula(operation: Operation) -> CostRule | None:
    rule = registered_cost_rule(operation)
    name = operation.name if operation.built_in else operation.qualified_name
    return rule if rule is not None else _FORMULAS.get(name)


def _costs_nothing(operation: Operation) -> bool:
    """Whether it is an operation of PyTorch that is known to multiply no matrices."""
    return operation.built_in and find_rule(operation) is not None


def _convolution(view: OperationView) -> int:
    # Each weight is used once for each position of the output or, if transposed, of the input, and
    # for each element of the first dimension, into which a network may fold more than the images.
    positions = view.shape("input") if view["transposed"] else view.output_shape
    return math.prod(view.shape("weight")) * positions[0] * math.prod(positions[2:])


def _matrix_product(left: str) -> CostRule:
    """Make the rule of a matrix product; `left` is the name of its left factor."""
    return lambda view: math.prod(view.output_shape) * view.shape(left)[-1]


def _matrix_vector(matrix: str) -> CostRule:
    return lambda view: math.prod(view.shape(matrix))


def _attention(view: OperationView) -> int:
    # Each query is compared with all keys and then gets the weighted sum of all values.
    query, key, value = (view.shape(name) for name in ("query", "key", "value"))
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _bilinear(view: OperationView) -> int:
    # For each row x and y of the inputs and each output: (x W) y.
    rows, outputs = view.shape("i1")[0], view.shape("i2")[0]
    return rows * math.prod(view.shape("i2")) + rows * outputs * view.shape("i3")[-1]


def _deformable_convolution(view: OperationView) -> int:
    positions = view.output_shape
    return math.prod(view.shape("weight")) * positions[0] * math.prod(positions[2:])


def _recurrent(*names: str) -> CostRule:
    """Make the rule of a recurrent layer `(T, N, F)`: each matrix is used at every step.

    Args:
        names: of the arguments that hold the matrices; vectors (biases) do not count.
    """

    def rule(view: OperationView) -> int:
        refs: list[NodeRef] = []
        for name in names:
            value = view[name]
            refs += value if isinstance(value, (list, tuple)) else [value]
        matrices = [shape for shape in (view.shapes[ref.node] for ref in refs) if len(shape) == 2]
        steps = math.prod(view.shape(view.first_argument)[:-1])
        return steps * sum(map(math.prod, matrices))

    return rule


_FORMULAS: dict[str, CostRule] = {
    "convolution": _convolution,
    "addmm": _matrix_product("mat1"),
    "mm": _matrix_product("self"),
    "bmm": _matrix_product("self"),
    "baddbmm": _matrix_product("batch1"),
    "addbmm": lambda view: math.prod(view.shape("batch1")) * view.shape("batch2")[-1],
    "_addmm_activation": _matrix_product("mat1"),
    "mv": _matrix_vector("self"),
    "addmv": _matrix_vector("mat"),
    "dot": _matrix_vector("self"),
    "_trilinear": _bilinear,
    "torchvision::deform_conv2d": _deformable_convolution,
    "mkldnn_rnn_layer": _recurrent("weight0", "weight1"),
    "_cudnn_rnn": _recurrent("weight"),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent("params")),
    "linear": _matrix_product("input"),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
            "_scaled_dot_product_attention_math", "_scaled_dot_product_attention_math_for_mps",
        ),
        _attention,
    ),
}  # fmt: skip
