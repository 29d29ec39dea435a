"""Tiles: the gradient of a sum over all units of a large image, computed for some units at a time.

A unit depends on its receptive field only, so the sum can be split by units. The units of a tile
are computed from the pixels that they see, and their gradient is added to those pixels. The sum
over all tiles is the gradient of the whole, without seams. Half as many pixels are computed twice
as with tiles that split the pixels.

A tile is placed so that every layer inside it has the same phase as on the whole image: it starts
at a multiple of the stride, and it ends with the image or leaves the same remainder modulo the
stride. Before a tile is used, its receptive fields are compared with those of the whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from convlens.analyses.deepdream.objective import ActivationObjective
from convlens.capture import capture_nodes, convert_gradient_errors
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace


@dataclass(frozen=True)
class TileSpan:
    """A tile along one axis.

    Attributes:
        start: first pixel.
        stop: one past the last pixel.
        first_unit: first unit, by its index in the map of the whole image.
        stop_unit: one past the last unit.
        unit_offset: index in the map of the whole image of the tile's own unit 0.
    """

    start: int
    stop: int
    first_unit: int
    stop_unit: int
    unit_offset: int


@dataclass(frozen=True)
class Tile:
    """Rows and columns of one tile."""

    rows: TileSpan
    columns: TileSpan

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def crop_pixels(self, images: Tensor) -> Tensor:
        """The tile's part `(..., h, w)` of images, as a view."""
        rows, columns = self.rows, self.columns
        return images[..., rows.start : rows.stop, columns.start : columns.stop]

    def crop_units(self, maps: Tensor) -> Tensor:
        """The tile's units `(..., h, w)` in the maps of its own pixels, as a view."""
        rows, columns = self.rows, self.columns
        return maps[
            ...,
            rows.first_unit - rows.unit_offset : rows.stop_unit - rows.unit_offset,
            columns.first_unit - columns.unit_offset : columns.stop_unit - columns.unit_offset,
        ]


@dataclass(frozen=True)
class TilePlan:
    """How the units of a node are computed for images of one size.

    Attributes:
        model: the model.
        node_name: name of the node.
        size: height and width of the image.
        tiles: each with the trace of images of its size.
    """

    model: Model
    node_name: str
    size: tuple[int, int]
    tiles: tuple[tuple[Tile, Trace], ...]

    def evaluate(
        self,
        image: Tensor,
        objective: ActivationObjective,
        *,
        gradient: Tensor | None = None,
        is_interrupted: Callable[[], bool] = lambda: False,
        after_tile: Callable[[], None] = lambda: None,
    ) -> float | None:
        """The objective of an image, summed over all units, and its gradient.

        Args:
            image: `(1, C, H, W)` inside the bounds.
            objective: gives the error signal and the objective for the activations of a tile.
            gradient: zeros `(1, C, H, W)`, to which the gradient is added; None: no gradient is
                computed.
            is_interrupted: called before each tile; True stops the computation.
            after_tile: called after each tile.

        Returns:
            The objective; None if the computation was stopped.
        """
        model, subtracts_mean = _fix_mean(self.model, image)
        total = 0.0
        for tile, model_trace in self.tiles:
            if is_interrupted():
                return None
            pixels = tile.crop_pixels(image).clone(memory_format=torch.channels_last)
            pixels.requires_grad_(gradient is not None)
            node = model_trace.find_node(self.node_name)
            with torch.set_grad_enabled(gradient is not None):
                activations = capture_nodes(model, model_trace, pixels, [node])[node]
            maps = model_trace.channels_first(node, activations)
            unit_error_signal, value = objective(tile.crop_units(maps.detach()))
            total += value
            if gradient is not None:
                error_signal = torch.zeros_like(maps)
                tile.crop_units(error_signal).copy_(unit_error_signal)
                with convert_gradient_errors(model_trace):
                    (pixel_gradient,) = torch.autograd.grad(maps, pixels, error_signal)
                tile.crop_pixels(gradient).add_(pixel_gradient.to(gradient))
            after_tile()
        if gradient is not None and subtracts_mean:
            # Each pixel also changes the mean that is subtracted from all pixels.
            gradient.sub_(gradient.mean(dim=(2, 3), keepdim=True))
        return total


def plan_tiles(
    model: Model, size: tuple[int, int], node_name: str, *, largest: int | None
) -> TilePlan:
    """Choose tiles that contain each unit of a node exactly once.

    Args:
        model: left untouched.
        size: height and width of the image.
        node_name: name of a node with maps.
        largest: largest height and width of a tile in pixels; if twice the receptive field is
            larger, that counts. None: a single tile. A layer that depends on the whole image
            through a global operation, or whose units are not evenly spaced, also gets a single
            tile, because it cannot be split.

    Raises:
        TraceError: the network does not run on such an image as far as the node.
    """
    whole_trace = trace(model, size=size, partly=node_name)
    node = whole_trace.find_node(node_name)
    field = whole_trace.field(node)
    if field is None:
        raise ConvlensError(
            f"{node_name} of {model.name} gives {whole_trace.shape(node)} for an image of "
            f"{size[0]} x {size[1]}, not maps; give a larger photo or a layer before it"
        )
    map_size = (len(field.low[0]), len(field.low[1]))
    whole_tile = Tile(
        TileSpan(0, size[0], 0, map_size[0], 0), TileSpan(0, size[1], 0, map_size[1], 0)
    )
    single = TilePlan(model, node_name, size, ((whole_tile, whole_trace),))
    if largest is None or max(size) <= largest or field.sees_whole_image:
        return single
    axes = []
    for axis in (0, 1):
        spans = _split_axis(field, axis, size[axis], largest)
        if spans is None:
            return single
        axes.append(spans)
    tiles = []
    for rows, columns in product(*axes):
        tile = Tile(rows, columns)
        tile_trace = trace(model, size=tile.size, partly=node_name)
        if not _has_same_fields(field, tile_trace, node_name, tile):
            return single
        tiles.append((tile, tile_trace))
    return TilePlan(model, node_name, size, tuple(tiles))


def _fix_mean(model: Model, image: Tensor) -> tuple[Model, bool]:
    """A model that subtracts the mean of this image, if the model subtracts each image's own mean.

    All tiles must subtract the same mean, that of the whole image.
    """
    if model.center != "image":
        return model, False
    mean = tuple(image.detach().mean(dim=(0, 2, 3)).tolist())
    return replace(model, center="data", mean=mean), True


def _split_axis(field: Field, axis: int, length: int, largest: int) -> Sequence[TileSpan] | None:
    """Spans of about equal length along one axis; None if the units are not evenly spaced."""
    low, high = field.low[axis].tolist(), field.high[axis].tolist()
    stride, extent = field.stride[axis], field.size[axis]
    if stride is None or extent is None or stride < 1:
        return None
    largest = max(largest, 2 * extent)
    count = len(low)
    for parts in range(1, count + 1):
        spans = [
            _span(low, high, length, stride, count * part // parts, count * (part + 1) // parts)
            for part in range(parts)
        ]
        if all(span.stop - span.start <= largest for span in spans):
            return spans
    return None


def _span(
    low: list[int], high: list[int], length: int, stride: int, first_unit: int, stop_unit: int
) -> TileSpan:
    start = max(0, low[first_unit]) // stride * stride
    stop = min(length, high[stop_unit - 1] + 1)
    # The tile's length leaves the same remainder modulo the stride as the image's length.
    stop += (length - stop) % stride
    return TileSpan(start, stop, first_unit, stop_unit, start // stride)


def _has_same_fields(field: Field, tile_trace: Trace, node_name: str, tile: Tile) -> bool:
    """Whether the tile's units see the same pixels as on the whole image."""
    tile_field = tile_trace.field(tile_trace.find_node(node_name))
    if tile_field is None or tile_field.sees_whole_image:
        return False
    for axis, span in enumerate((tile.rows, tile.columns)):
        units = slice(span.first_unit, span.stop_unit)
        own_units = slice(span.first_unit - span.unit_offset, span.stop_unit - span.unit_offset)
        for whole, part in ((field.low, tile_field.low), (field.high, tile_field.high)):
            shifted = part[axis][own_units] + span.start
            if not torch.equal(shifted, whole[axis][units]):
                return False
    return True
