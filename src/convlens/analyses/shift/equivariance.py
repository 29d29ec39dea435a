"""Equivariance: is the feature map of the shifted image the shifted feature map, layer by layer?

Convolution promises it (Bishop & Bishop, section 10.2), strides and pooling keep it for whole
strides only, padding breaks it at the borders. Image and shifted image run in one batch and are
compared as each layer is computed, so nothing is kept and all layers cost one pass of the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, isnan
from numbers import Integral

import torch
from torch import Tensor

from convlens.capture import stream
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Result
from convlens.runtime.precision import full_precision
from convlens.tracing.node_names import NodeName
from convlens.tracing.recorder import Operation
from convlens.tracing.trace import Trace, trace

Offset = tuple[int, int]

LOST = 0.01  # of a map's own variation: below it nobody would call equivariance lost

_POOLINGS = {
    "max_pool2d_with_indices": "max pooling",
    "avg_pool2d": "average pooling",
    "_adaptive_avg_pool2d": "average pooling",
    "adaptive_max_pool2d": "max pooling",
}
_CHANNELS = 64  # of a layer that are compared, the first ones: channels have no order
_ROWS = 40  # of a map; of more, every second or third is compared
_AT_ONCE = 4  # images, beside their shifted ones, in a batch; large batches run no quicker


@dataclass(frozen=True, eq=False)
class LayerEquivariance(Result):
    """How far a layer's map of the shifted image is from the shifted map.

    Errors are root mean squares of the difference over that of the map's variation around its
    channels' means: 0 is equivariant, 1.4 as far apart as unrelated maps. One for each shift, the
    median over the images; None where there is nothing to compare.

    Attributes:
        layer: its name.
        what: "convolution", "max pooling" or "average pooling".
        step: positions of its input from one of its windows to the next, rows and columns.
        padded: its windows reach beyond its input.
        pixels: pixels from one position to the next, or None where that varies.
        field: rows and columns that a position sees, or None where that varies.
        maps: height and width.
        inside: errors of the positions that see nothing but the image, before and after the
            shift: borders and padding have no part in them.
        whole: errors of all positions that there are before and after the shift.
    """

    layer: str
    what: str
    step: tuple[int, int]
    padded: bool
    pixels: tuple[int, int] | None
    field: tuple[int, int] | None
    maps: tuple[int, int]
    inside: tuple[float | None, ...]
    whole: tuple[float | None, ...]

    def reason(self, shift: Offset) -> str:
        """What in this layer may cost equivariance under a shift, in words."""
        if self.pixels and not any(by % own for by, own in zip(shift, self.pixels, strict=True)):
            # A whole number of positions, which strides and pooling keep.
            if self.inside[0] is None:
                return "borders and padding: no position sees the image alone"
            return "more than convolution and pooling goes on before it"
        parts = [] if self.what == "convolution" else [self.what]
        if max(self.step) > 1:
            step = self.step[0] if self.step[0] == self.step[1] else self.step
            parts.append(f"stride {step}")
        return ", ".join(parts) or "what it is given"

    def error(self, shift: int) -> float | None:
        """Away from the borders where positions there are, else of all."""
        return self.whole[shift] if self.inside[shift] is None else self.inside[shift]


@dataclass(frozen=True, eq=False)
class Equivariance(Result):
    """Equivariance of every convolution and pooling, and where it is lost.

    Attributes:
        model: its name.
        images: how many were shifted.
        shifts: rows and columns by which the content moves, in pixels.
        layers: in the order of execution.
        lost: for each shift the number of the first layer whose error is above 0.01, or None.
    """

    model: str
    images: int
    shifts: tuple[Offset, ...]
    layers: tuple[LayerEquivariance, ...]
    lost: tuple[int | None, ...]

    def summary(self, shift: int = 0) -> str:
        """Where it is lost under one of the shifts, in words."""
        rows, columns = self.shifts[shift]
        how = f"{rows} pixel{'s' if rows != 1 else ''}" if rows == columns else f"{rows}, {columns}"
        at = self.lost[shift]
        if at is None:
            return f"keeps its equivariance in all {len(self.layers)} layers, shifted by {how}"
        one = self.layers[at]
        return (
            f"loses shift equivariance at {one.layer} ({one.reason(self.shifts[shift])}): shifted "
            f"by {how}, its map is {100 * (one.error(shift) or 0):.0f} % of its variation off"
        )


@full_precision()
def equivariance(
    model: Model,
    images: Tensor,
    *,
    shifts: Sequence[int | Offset] | None = None,
) -> Equivariance:
    """The error of every convolution's and pooling's map when the image is shifted.

    The image's content moves down and to the right, round the edges. A shift by whole strides of a
    layer moves its map by whole positions; one between them is compared with the map moved by
    linear interpolation. One forward pass of the image and each shifted one. Of a layer its first
    64 channels are compared, of a map with more than 40 rows every second, third and so on.

    Args:
        model: left untouched.
        images: `(N, C, H, W)` inside the bounds.
        shifts: pixels, for both axes or (rows, columns), not negative; default: one pixel, and the
            greatest stride of any layer.

    Raises:
        ConvlensError: a shift that cannot be used, images that the model does not take, or a
            network without maps.
    """
    found = trace(model, images)
    model.check(images)
    layers = shifted_layers(found)
    offsets = offsets_of(found, layers, shifts)
    errors = torch.cat(
        [compare(model, found, layers, part, offsets) for part in images.split(_AT_ONCE)]
    )
    middle = errors.nanmedian(dim=0).values
    return told(model, found, layers, offsets, middle, len(images))


@dataclass(frozen=True)
class ShiftedLayer:
    """A layer to compare.

    Attributes:
        layer: its name.
        node: by number in the trace.
        operation: that makes it.
        pixels: from one position to the next, or None.
    """

    layer: str
    node: int
    operation: Operation
    pixels: tuple[int, int] | None


def shifted_layers(found: Trace) -> tuple[ShiftedLayer, ...]:
    """Every convolution and pooling that gives maps.

    Raises:
        ConvlensError: there is none.
    """
    layers = []
    for operation in found.recording.operations:
        known = operation.name == "convolution" or operation.name in _POOLINGS
        if not known or operation.call is None:
            continue
        node = operation.outputs[0]
        if found.spatial_dims(node) is None:
            continue
        node_name = NodeName(operation.call.path, operation.call.number).brief(found.recording.runs)
        name = str(node_name) if operation.call.path else found.name(node)
        layers.append(ShiftedLayer(name, node, operation, _pixels(found, node)))
    if not layers:
        raise ConvlensError(f"{found.model_name} runs no convolution or pooling that gives maps")
    return tuple(layers)


def offsets_of(
    found: Trace, layers: Sequence[ShiftedLayer], shifts: Sequence[int | Offset] | None
) -> tuple[Offset, ...]:
    """Shifts as (rows, columns).

    Raises:
        ConvlensError: none, a negative one, none at all, or one of half the image and more.
    """
    height, width = found.image_size
    if shifts is None:
        strides = [max(one.pixels) for one in layers if one.pixels]
        usual = [one for one in strides if 1 < one < min(height, width) // 2]
        shifts = [1, *({max(usual)} if usual else ())]
    offsets = tuple(_offset(one) for one in shifts)
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


def _offset(shift: int | Offset) -> Offset:
    both = shift if isinstance(shift, (tuple, list)) else (shift, shift)
    if len(both) != 2 or not all(isinstance(one, Integral) for one in both):
        raise ConvlensError(
            f"a shift of {shift!r}; give whole pixels, for both axes or (rows, columns)"
        )
    return int(both[0]), int(both[1])


def compare(
    model: Model,
    found: Trace,
    layers: Sequence[ShiftedLayer],
    images: Tensor,
    offsets: Sequence[Offset],
) -> Tensor:
    """Errors of each image, float32 `(N, 2, S, L)`: inside, then whole; NaN for no comparison."""
    shifted = [torch.roll(images, offset, dims=(2, 3)) for offset in offsets]
    batch = torch.cat([images, *shifted]).contiguous(memory_format=torch.channels_last)
    errors = torch.full((len(images), 2, len(offsets), len(layers)), torch.nan)
    regions = {
        one.node: (number, [_regions(found, one, offset) for offset in offsets])
        for number, one in enumerate(layers)
    }
    stream(model, found, batch, regions.keys(), partial(_tell, found, len(images), regions, errors))
    return errors


@dataclass(frozen=True)
class _Region:
    """Along one axis: positions of the shifted image's map, and what they are compared with.

    Attributes:
        start: first position.
        stop: after the last.
        back: so many positions before lies what it is compared with.
        between: share of the position one further back, by linear interpolation.
        inside: first and last (after) of the positions that see the image only, or None.
    """

    start: int
    stop: int
    back: int
    between: float
    inside: tuple[int, int] | None


def _tell(
    found: Trace,
    count: int,
    regions: dict[int, tuple[int, list[tuple[_Region, _Region] | None]]],
    errors: Tensor,
    node: int,
    maps: Tensor,
) -> None:
    number, each = regions[node]
    maps = found.channels_first(node, maps)
    maps = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    base = maps[:count, :_CHANNELS]
    if all(one is None for one in each):
        return
    every = ceil(base.shape[2] / _ROWS)
    sampled = base[:, :, ::every]
    size = sampled.shape[2] * sampled.shape[3]
    mean = sampled.mean(dim=(2, 3))
    varied = sampled.square().sum(dim=(1, 2, 3)) - size * mean.square().sum(dim=1)
    scale = (varied.clamp(min=0) / size).cpu()
    for shift, axes in enumerate(each):
        if axes is None:
            continue
        rows, columns = axes
        other = maps[count * (shift + 1) : count * (shift + 2), :_CHANNELS]
        there = other[:, :, rows.start : rows.stop : every, columns.start : columns.stop]
        apart = there - _moved(base, rows, columns, every)
        squares = apart.square_().sum(dim=1).cpu()
        errors[:, 1, shift, number] = (squares.mean(dim=(1, 2)) / scale).sqrt()
        if rows.inside is None or columns.inside is None:
            continue
        top, bottom = (ceil((end - rows.start) / every) for end in rows.inside)
        left, right = (end - columns.start for end in columns.inside)
        squares = squares[:, top:bottom, left:right]
        errors[:, 0, shift, number] = (squares.mean(dim=(1, 2)) / scale).sqrt()


def _moved(base: Tensor, rows: _Region, columns: _Region, every: int) -> Tensor:
    """The part of the maps that is compared, moved by whole positions or by what lies between."""
    top, bottom = rows.start - rows.back, rows.stop - rows.back
    moved = base[:, :, top:bottom:every]
    if rows.between:
        moved = torch.lerp(moved, base[:, :, top - 1 : bottom - 1 : every], rows.between)
    left, right = columns.start - columns.back, columns.stop - columns.back
    across = moved[:, :, :, left:right]
    if columns.between:
        across = torch.lerp(across, moved[:, :, :, left - 1 : right - 1], columns.between)
    return across


def _regions(found: Trace, one: ShiftedLayer, offset: Offset) -> tuple[_Region, _Region] | None:
    dims = found.spatial_dims(one.node)
    field = found.field(one.node)
    if dims is None or field is None or one.pixels is None:
        return None
    axes = []
    for axis in (0, 1):
        length, by, step = found.shape(one.node)[dims[axis]], offset[axis], one.pixels[axis]
        back, rest = divmod(by, step)
        start = back + (1 if rest else 0)
        if start >= length:
            return None
        low, high, side = field.low[axis], field.high[axis], found.image_size[axis]
        at = torch.arange(start, length)
        # A field cut short lies at a border too, where edge pixels are repeated say.
        extent = high - low
        whole = (low >= 0) & (high < side) & (extent == extent.mode().values)
        inside = whole[at]
        for further in {back, start}:  # what comes in at the edge is then not seen either
            inside = inside & whole[at - further]
        those = at[inside].tolist()
        # Fewer than two positions vary too little for an error to mean much.
        ends = (those[0], those[-1] + 1) if len(those) > 1 else None
        axes.append(_Region(start, length, back, rest / step, ends))
    return axes[0], axes[1]


def _pixels(found: Trace, node: int) -> tuple[int, int] | None:
    """Pixels from one position to the next: of most fields, or else from the sizes."""
    field, dims = found.field(node), found.spatial_dims(node)
    if field is None or dims is None:
        return None
    steps = []
    for axis in (0, 1):
        length, side = found.shape(node)[dims[axis]], found.image_size[axis]
        steps_there = field.low[axis].diff()
        stride = int(steps_there.mode().values) if len(steps_there) else 0
        # Uneven at the borders only, or else nothing can be said from the fields.
        if stride < 1 or int((steps_there == stride).sum()) * 2 < len(steps_there):
            if side % length:
                return None
            stride = side // length
        steps.append(stride)
    return steps[0], steps[1]


def told(
    model: Model,
    found: Trace,
    layers: Sequence[ShiftedLayer],
    offsets: Sequence[Offset],
    errors: Tensor,
    images: int,
) -> Equivariance:
    """The result, from errors `(2, S, L)`, inside and whole; NaN for no comparison."""
    rows = []
    for number, one in enumerate(layers):
        field, dims = found.field(one.node), found.spatial_dims(one.node)
        assert field is not None
        assert dims is not None
        size = field.size
        inside, whole = (
            tuple(None if isnan(value) else value for value in errors[which, :, number].tolist())
            for which in (0, 1)
        )
        step, padded = _window(one.operation)
        rows.append(
            LayerEquivariance(
                layer=one.layer,
                what=_POOLINGS.get(one.operation.name, "convolution"),
                step=step,
                padded=padded,
                pixels=one.pixels,
                field=(size[0], size[1]) if size[0] and size[1] else None,
                maps=(found.shape(one.node)[dims[0]], found.shape(one.node)[dims[1]]),
                inside=inside,
                whole=whole,
            )
        )
    above = [
        [number for number, one in enumerate(rows) if (one.error(shift) or 0.0) > LOST]
        for shift in range(len(offsets))
    ]
    return Equivariance(
        model=model.name,
        images=images,
        shifts=tuple(offsets),
        layers=tuple(rows),
        lost=tuple(each[0] if each else None for each in above),
    )


def _window(operation: Operation) -> tuple[tuple[int, int], bool]:
    """Step of an operation's windows, and whether they reach beyond its input."""
    stride = operation.arguments.get("stride") or operation.arguments.get("kernel_size") or [1]
    padding = operation.arguments.get("padding") or [0]
    stride = [stride] if isinstance(stride, int) else list(stride)
    padding = [padding] if isinstance(padding, int) else list(padding)
    return (int(stride[0]), int(stride[-1])), any(padding)
