"""The layers and the shifts that an equivariance measurement compares."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from convlens.errors import ConvlensError
from convlens.tracing.left_out import explain_missing_maps
from convlens.tracing.recording.node_names import NodeName
from convlens.tracing.recording.recording import Operation
from convlens.tracing.trace import Trace

Offset = tuple[int, int]

_POOLINGS = {
    "max_pool2d_with_indices": "max pooling",
    "avg_pool2d": "average pooling",
    "_adaptive_avg_pool2d": "average pooling",
    "adaptive_max_pool2d": "max pooling",
}


@dataclass(frozen=True)
class ShiftedLayer:
    """A layer whose maps are compared.

    Attributes:
        layer: the name of the layer.
        node: the index of its output in the trace.
        operation: the operation that computes it.
        spacing: pixels from one position to the next, rows and columns; None where it varies.
    """

    layer: str
    node: int
    operation: Operation
    spacing: tuple[int, int] | None

    @property
    def operation_name(self) -> str:
        """What the layer does: "convolution", "max pooling" or "average pooling"."""
        return _POOLINGS.get(self.operation.name, "convolution")

    @property
    def stride(self) -> tuple[int, int]:
        """Positions of the input from one window to the next, rows and columns."""
        arguments = self.operation.arguments
        stride = _as_list(arguments.get("stride") or arguments.get("kernel_size") or [1])
        return int(stride[0]), int(stride[-1])

    @property
    def padded(self) -> bool:
        """Whether the windows reach beyond the input."""
        return any(_as_list(self.operation.arguments.get("padding") or [0]))


def find_shifted_layers(trace: Trace) -> tuple[ShiftedLayer, ...]:
    """Every convolution and pooling whose output has spatial positions.

    Raises:
        ConvlensError: if there is none.
    """
    layers = []
    for operation in trace.recording.operations:
        compared = operation.name == "convolution" or operation.name in _POOLINGS
        if not compared or operation.call is None:
            continue
        node = operation.outputs[0]
        if trace.spatial_dims(node) is None:
            continue
        call = operation.call
        name = str(NodeName(call.path, call.number).brief(trace.recording.runs))
        layers.append(
            ShiftedLayer(
                name if call.path else trace.name(node), node, operation, _spacing(trace, node)
            )
        )
    if not layers:
        reason = explain_missing_maps(trace)
        raise ConvlensError(
            f"{trace.model_name} runs no convolution or pooling that gives maps"
            + (f": {reason}" if reason else "")
        )
    return tuple(layers)


def parse_shifts(
    trace: Trace, layers: Sequence[ShiftedLayer], shifts: Sequence[int | Offset] | None
) -> tuple[Offset, ...]:
    """Convert shifts to (rows, columns).

    Args:
        trace: trace of the model, for images of the size that is shifted.
        layers: the layers to compare.
        shifts: pixels, for both axes or as (rows, columns). Default: one pixel, and the greatest
            stride of any layer.

    Raises:
        ConvlensError: if there is none, or one that is negative, zero, or over half the image.
    """
    height, width = trace.image_size
    if shifts is None:
        spacings = [max(layer.spacing) for layer in layers if layer.spacing]
        spacings_that_fit = [pixels for pixels in spacings if 1 < pixels < min(height, width) // 2]
        shifts = [1, *({max(spacings_that_fit)} if spacings_that_fit else ())]
    offsets = tuple(_parse_shift(shift) for shift in shifts)
    for rows, columns in offsets:
        if (
            min(rows, columns) < 0
            or max(rows, columns) < 1
            or 2 * rows > height
            or 2 * columns > width
        ):
            raise ConvlensError(
                f"a shift of {rows}, {columns} pixels of {height} x {width}; give 1 to "
                f"{min(height, width) // 2}"
            )
    if not offsets:
        raise ConvlensError("no shifts; give at least one")
    return offsets


def _parse_shift(shift: int | Offset) -> Offset:
    pair = shift if isinstance(shift, (tuple, list)) else (shift, shift)
    if len(pair) != 2 or not all(isinstance(pixels, Integral) for pixels in pair):
        raise ConvlensError(
            f"a shift of {shift!r}; give whole pixels, for both axes or (rows, columns)"
        )
    return int(pair[0]), int(pair[1])


def _spacing(trace: Trace, node: int) -> tuple[int, int] | None:
    """Pixels from one position to the next, from the receptive fields or else from the sizes."""
    field, dims = trace.field(node), trace.spatial_dims(node)
    if field is None or dims is None:
        return None
    spacing = []
    for axis in (0, 1):
        stride = field.stride[axis]
        if stride is not None and stride >= 1:
            spacing.append(stride)
            continue
        length, side = trace.shape(node)[dims[axis]], trace.image_size[axis]
        steps = field.low[axis].diff()
        pixels = int(steps.mode().values) if len(steps) else 0
        # Fields may be uneven at the borders; where most are uneven they do not tell the spacing.
        if pixels < 1 or int((steps == pixels).sum()) * 2 < len(steps):
            if side % length:
                return None
            pixels = side // length
        spacing.append(pixels)
    return spacing[0], spacing[1]


def _as_list(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)
