"""Kernel, stride, padding, dilation and groups of a layer, from the operations that it runs."""

from collections.abc import Sequence
from typing import TypedDict

from convlens.analyses.anatomy.layer import Pair
from convlens.tracing.receptive_field.fields import find_padding
from convlens.tracing.recording.recording import Operation
from convlens.tracing.trace import Trace

_POOLS = frozenset({"max_pool2d_with_indices", "avg_pool2d"})


class WindowSettings(TypedDict, total=False):
    """The fields of `Layer` that describe its windows."""

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair
    groups: int


def find_window_settings(model_trace: Trace, operations: Sequence[Operation]) -> WindowSettings:
    """The settings of the only convolution or pooling of a layer; empty without one.

    Args:
        model_trace: of the network.
        operations: what the layer runs.
    """
    windows = [operation for operation in operations if _has_windows(operation)]
    if len(windows) != 1:
        return {}
    (operation,) = windows
    arguments = operation.arguments
    groups = None
    if operation.name == "convolution":
        kernel = model_trace.shape(arguments["weight"].node)[2:]
        groups = arguments["groups"]
    else:
        kernel = to_pair(arguments["kernel_size"])
    y, x = to_pair(arguments.get("padding") or 0)
    top, bottom, left, right = _added_before(model_trace, operations, operation)
    settings: WindowSettings = {
        "kernel": to_pair(kernel),
        "stride": to_pair(arguments.get("stride") or kernel),
        "padding": (top + y, bottom + y, left + x, right + x),
        "dilation": to_pair(arguments.get("dilation") or 1),
    }
    if groups is not None:
        settings["groups"] = groups
    return settings


def to_pair(value: int | Sequence[int]) -> Pair:
    """A setting for rows and columns, where it may be one number for both."""
    if isinstance(value, int):
        return value, value
    return value[0], value[-1]


def _has_windows(operation: Operation) -> bool:
    if operation.name == "convolution":
        return len(operation.arguments["stride"]) == 2
    return operation.name in _POOLS


def _added_before(
    model_trace: Trace, operations: Sequence[Operation], window: Operation
) -> tuple[int, int, int, int]:
    """The padding that a layer adds before the operation with windows."""
    inputs = (node for operation in operations for node in operation.inputs)
    source = next((node for node in inputs if node in model_trace.on_image), None)
    padded = window.inputs[0]
    if source is None or source == padded:
        return 0, 0, 0, 0
    # Writes through views (circular padding) stand between the operations of the layer.
    every_operation = model_trace.recording.operations
    start, end = every_operation.index(operations[0]), every_operation.index(window)
    padding = find_padding(model_trace.recording, every_operation[start:end], source, padded)
    return padding or (0, 0, 0, 0)
