"""Why a network does not run on an image of some size, and which size it needs."""

from collections.abc import Callable

from torch import nn

from convlens.errors import first_line
from convlens.tracing.recording.hooks import ModuleCall, tensors_in
from convlens.tracing.recording.recorder import FAILED_CALL

_LARGEST_SIDE = 1024  # pixels; the search for the least side ends there
_WINDOW_MODULES = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def explain_failure(error: Exception, runs: Callable[[int], bool]) -> str:
    """Describe on one line which module failed and why.

    Args:
        error: what the network raised while it was recorded.
        runs: whether the network runs on a square image with that side, in pixels.
    """
    message = first_line(error)
    call: ModuleCall | None = error.__dict__.get(FAILED_CALL)
    if call is None or not call.path:
        return message
    shapes = [tuple(tensor.shape) for tensor in tensors_in(call.inputs)]
    module, input_shape = call.module, shapes[0] if shapes else ()
    if isinstance(module, nn.Linear) and input_shape and input_shape[-1] != module.in_features:
        return (
            f"the fully connected stage {call.path} takes {module.in_features:,} values and gets "
            f"{input_shape[-1]:,}; average pooling before it (torch.nn.AdaptiveAvgPool2d) would "
            f"let other sizes in"
        )
    if (
        isinstance(module, _WINDOW_MODULES)
        and len(input_shape) == 4
        and _is_too_small(module, input_shape)
    ):
        height, width = input_shape[-2:]
        side = find_least_side(runs)
        advice = f"; give at least {side} x {side}" if side else ""
        return (
            f"layer {call.path} is given {height} x {width} and would give less than one pixel"
            f"{advice}"
        )
    return f"in {call.path}: {message}"


def _is_too_small(module: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Whether the window of a module is larger than its padded input."""
    for axis, length in enumerate(input_shape[-2:]):
        kernel, padding, dilation = (
            _along_axis(getattr(module, attribute, default), axis)
            for attribute, default in (("kernel_size", 1), ("padding", 0), ("dilation", 1))
        )
        if length + 2 * padding < dilation * (kernel - 1) + 1:
            return True
    return False


def _along_axis(value: object, axis: int) -> int:
    """A module's setting along one axis, where it may be one number for both axes."""
    if isinstance(value, tuple):
        return int(value[axis])
    return value if isinstance(value, int) else 0


def find_least_side(runs: Callable[[int], bool]) -> int | None:
    """Find the side of the smallest square image on which a network runs, or None.

    The side is doubled until the network runs, then found by bisection.

    Args:
        runs: whether the network runs on a square image with that side, in pixels.
    """
    high = 1
    while not runs(high):
        high *= 2
        if high > _LARGEST_SIDE:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    return high
