"""The number of multiply-adds of each recorded operation, for one image."""

import math

from convlens.tracing.operation_view import OperationView
from convlens.tracing.recording import Operation
from convlens.tracing.registry import CostRule, registered_cost_rule


def count_multiply_adds(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> int:
    """Count the multiply-adds of an operation; 0 for one without a rule.

    Args:
        operation: the recorded operation.
        shapes: shape of each node of the recording, by its index.
    """
    rule = registered_cost_rule(operation)
    if rule is None and operation.built_in:
        rule = _RULES.get(operation.name)
    return rule(OperationView(operation, shapes)) if rule is not None else 0


def _convolution(view: OperationView) -> int:
    # Each weight is used once for each position of the output or, if transposed, of the input, and
    # for each element of the first dimension, into which a network may fold more than the images.
    positions = view.shape("input") if view["transposed"] else view.output_shape
    return math.prod(view.shape("weight")) * positions[0] * math.prod(positions[2:])


def _matrix_product(left: str) -> CostRule:
    """Make the rule of a matrix product; `left` is the name of its left factor."""
    return lambda view: math.prod(view.output_shape) * view.shape(left)[-1]


def _attention(view: OperationView) -> int:
    return 2 * math.prod(view.shape("query")) * view.shape("key")[-2]


_RULES: dict[str, CostRule] = {
    "convolution": _convolution,
    "addmm": _matrix_product("mat1"),
    "mm": _matrix_product("self"),
    "bmm": _matrix_product("self"),
    "baddbmm": _matrix_product("batch1"),
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
