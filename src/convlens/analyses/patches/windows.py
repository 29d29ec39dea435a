"""Windows: cutouts of an image on which a unit has the same activation as on the whole image.

The corner of a window lies on the layer's stride grid, and the window's size leaves the same
remainder as the image's. All padding on the way, also padding that depends on the size, therefore
falls where it falls on the whole image. At the edges of the image the window is aligned with them.
"""

import torch

from convlens.models.model import Model
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

FieldBox = tuple[
    int, int, int, int
]  # first and last row, first and last column; may lie in padding
Window = tuple[int, int, int, int]  # top, left, height, width; inside the image


def field_box(field: Field, row: int, column: int) -> FieldBox:
    """First and last row, first and last column of the image that a position can see."""
    (low_y, low_x), (high_y, high_x) = field.low, field.high
    return int(low_y[row]), int(high_y[row]), int(low_x[column]), int(high_x[column])


def pixels_inside(low: int, high: int, first: int, last: int) -> slice:
    """The pixels of a field, `low` to `high`, that lie in `first` to `last`.

    Returns:
        An empty slice from `first` to `last` where there are none: a field may lie entirely in the
        padding.
    """
    start = min(max(low, first), last + 1)
    return slice(start, max(min(high, last) + 1, start))


def smallest_side(model: Model, image_trace: Trace, node: int) -> int:
    """Pixels that a window's sides need at least for the network to run as far as a node.

    Args:
        model: the model.
        image_trace: its trace on whole images.
        node: the node, by number in that trace.
    """
    field = image_trace.field(node)
    assert field is not None
    size = image_trace.image_size
    least = 1
    while least < max(size):
        window = find_window(field, (0, 0, 0, 0), size, least)
        window_trace = trace_window(model, window[2:])
        if image_trace.name(node) in window_trace:
            return least
        least = 2 * max(window[2:])
    return least


def trace_window(model: Model, size: tuple[int, int]) -> Trace:
    """Trace a model as far as it runs on windows of a size.

    The image is zero, because the bounds of a model of normalized images are so wide that random
    pixels within them would overflow.
    """
    image = torch.zeros(1, model.channels, *size, dtype=torch.float32, device=model.device)
    return trace(model, image, partly=True)


def find_window(field: Field, box: FieldBox, size: tuple[int, int], least: int = 1) -> Window:
    """The smallest window on the stride grid that contains a box, or else the whole image.

    Args:
        field: receptive field of the layer.
        box: the box to contain.
        size: height and width of the image.
        least: pixels that the window's sides have at least; default: 1.
    """
    starts, lengths = [], []
    for axis, length in enumerate(size):
        low, high = box[2 * axis], box[2 * axis + 1]
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


def position_in_window(
    window_trace: Trace, node: int, box: FieldBox, window: Window
) -> tuple[int, int] | None:
    """Row and column of the unit of a window that sees the same pixels.

    Args:
        window_trace: trace of the model on images of the window's size.
        node: the node, by number in that trace.
        box: what the unit sees of the whole image.
        window: the window.

    Returns:
        None unless exactly one unit sees these pixels.
    """
    field = window_trace.field(node)
    if field is None:
        return None
    positions = []
    for axis in (0, 1):
        low, high = (box[2 * axis + end] - window[axis] for end in (0, 1))
        is_same = (field.low[axis] == low) & (field.high[axis] == high)
        if int(is_same.sum()) != 1:
            return None
        positions.append(int(is_same.nonzero()))
    return positions[0], positions[1]
