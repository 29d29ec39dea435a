"""Why a network does not run on an image of some size, and what would make it run."""

from collections.abc import Callable

from torch import nn

from convlens.errors import first_line
from convlens.tracing.recorder import STOPPED
from convlens.tracing.walk import Call, tensors_in

_LARGEST = 1024  # pixels; a least size beyond is not looked for
_SHRINKING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def misfit(error: Exception, runs: Callable[[int], bool]) -> str:
    """What went wrong in which module, on one line.

    Args:
        error: what the network raised while it was recorded.
        runs: whether the network runs on a square image with that side, in pixels.
    """
    said = first_line(error)
    call: Call | None = error.__dict__.get(STOPPED)
    if call is None or not call.path:
        return said
    shapes = [tuple(tensor.shape) for tensor in tensors_in(call.inputs)]
    module, given = call.module, shapes[0] if shapes else ()
    if isinstance(module, nn.Linear) and given and given[-1] != module.in_features:
        return (
            f"the fully connected stage {call.path} takes {module.in_features:,} values and gets "
            f"{given[-1]:,}; average pooling before it (torch.nn.AdaptiveAvgPool2d) would let "
            f"other sizes in"
        )
    if isinstance(module, _SHRINKING) and len(given) == 4 and _too_small(module, given):
        height, width = given[-2:]
        side = least(runs)
        advice = f"; give at least {side} x {side}" if side else ""
        return (
            f"layer {call.path} is given {height} x {width} and would give less than one pixel"
            f"{advice}"
        )
    return f"in {call.path}: {said}"


def _too_small(module: nn.Module, given: tuple[int, ...]) -> bool:
    """Whether the filter is longer than what it is given, padding included."""
    for axis, length in enumerate(given[-2:]):
        kernel, padding, dilation = (
            _of(getattr(module, word, default), axis)
            for word, default in (("kernel_size", 1), ("padding", 0), ("dilation", 1))
        )
        if length + 2 * padding < dilation * (kernel - 1) + 1:
            return True
    return False


def _of(value: object, axis: int) -> int:
    if isinstance(value, tuple):
        return int(value[axis])
    return value if isinstance(value, int) else 0


def least(runs: Callable[[int], bool]) -> int | None:
    """The least side on which it runs, by doubling and then halving."""
    high = 1
    while not runs(high):
        high *= 2
        if high > _LARGEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(middle) else (middle, high)
    return high
