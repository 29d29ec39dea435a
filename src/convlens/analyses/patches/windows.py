"""Windows: the small images on which a unit answers as it does on a whole one.

A window's corner lies on the layer's stride grid and its size leaves the same remainder as the
image's, so that all padding on the way (also a padding that depends on the size) falls as it did;
at the image's edges the window is pinned to them.
"""

from convlens.models.model import Model
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.trace import Trace, trace

Box = tuple[int, int, int, int]  # first and last row, first and last column; may lie in the padding
Window = tuple[int, int, int, int]  # top, left, height, width; inside the image


def box(field: Field, row: int, column: int) -> Box:
    """First and last row, first and last column of the image that a position can see."""
    (low_y, low_x), (high_y, high_x) = field.low, field.high
    return int(low_y[row]), int(high_y[row]), int(low_x[column]), int(high_x[column])


def least_side(model: Model, found: Trace, node: int) -> int:
    """Pixels that a window's sides need at least, for the network to run as far as a node.

    Args:
        model: the model.
        found: its trace on whole images.
        node: the node, by number in that trace.
    """
    field = found.field(node)
    assert field is not None
    size = found.image_size
    least = 1
    while least < max(size):
        one = window(field, (0, 0, 0, 0), size, least)
        there = trace(model, size=one[2:], partly=True)
        if found.name(node) in there:
            return least
        least = 2 * max(one[2:])
    return least


def window(field: Field, seen: Box, size: tuple[int, int], least: int = 1) -> Window:
    """The smallest window on the stride grid that holds a box; else the whole image.

    Args:
        field: of the layer.
        seen: the box.
        size: height and width of the image.
        least: pixels that its sides have at least.
    """
    starts, lengths = [], []
    for axis, length in enumerate(size):
        low, high = seen[2 * axis], seen[2 * axis + 1]
        step, extent = field.stride[axis], field.size[axis]
        if step is None or extent is None or step < 1:
            return (0, 0, *size)
        needed = max(extent + step, least)
        # The same remainder as the image has, so that the window's end falls where its end does.
        needed += (length - needed) % step
        if needed >= length:
            starts.append(0)
            lengths.append(length)
            continue
        start = min(max(low, 0) // step * step, length - needed)
        if high > length - 1:
            start = length - needed
        starts.append(start)
        lengths.append(needed)
    return starts[0], starts[1], lengths[0], lengths[1]


def position(there: Trace, node: int, seen: Box, at: Window) -> tuple[int, int] | None:
    """Row and column of the unit that sees the same pixels in a window; None without exactly one.

    Args:
        there: trace of the model on images of the window's size.
        node: the node, by number in that trace.
        seen: what the unit sees of the whole image.
        at: the window.
    """
    field = there.field(node)
    if field is None:
        return None
    found = []
    for axis in (0, 1):
        low, high = (seen[2 * axis + end] - at[axis] for end in (0, 1))
        same = (field.low[axis] == low) & (field.high[axis] == high)
        if int(same.sum()) != 1:
            return None
        found.append(int(same.nonzero()))
    return found[0], found[1]
