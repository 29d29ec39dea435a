"""Tiles: parts of a large image on which units of a network have the values of the whole image.

The units of a map are divided among the tiles. Each tile contains all pixels that its units see.
It is placed so that every layer inside it has the same phase as on the whole image: it starts at a
multiple of the greatest stride, and its length leaves the same remainder as that of the image.
Before a tile is used, its receptive fields are compared with those of the whole image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace


class NoTilesError(ConvlensError):
    """The units of a node cannot be computed in tiles; the message says why."""


@dataclass(frozen=True)
class TileSpan:
    """A tile along one axis, and the units of one node that it computes.

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

    @property
    def units(self) -> slice:
        """The units in the map of the whole image."""
        return slice(self.first_unit, self.stop_unit)

    @property
    def own_units(self) -> slice:
        """The units in the map of the tile."""
        return slice(self.first_unit - self.unit_offset, self.stop_unit - self.unit_offset)


@dataclass(frozen=True)
class ImageTile:
    """Rows and columns of one tile, with the units of one node."""

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
        return maps[..., self.rows.own_units, self.columns.own_units]

    def crop_whole(self, maps: Tensor) -> Tensor:
        """The tile's units `(..., h, w)` in the maps of the whole image, as a view."""
        return maps[..., self.rows.units, self.columns.units]


@dataclass(frozen=True)
class TracedTile:
    """One tile for several nodes.

    Attributes:
        tiles: the tile with the units of each node, by the name of the node; the pixels agree.
        trace: the trace of images of the tile's size.
    """

    tiles: dict[str, ImageTile]
    trace: Trace

    @property
    def pixels(self) -> ImageTile:
        """The tile, for its pixels."""
        return next(iter(self.tiles.values()))


def find_tiles(
    model: Model, whole: Trace, names: Sequence[str], *, largest: int
) -> list[TracedTile]:
    """Choose tiles that contain each unit of some nodes exactly once.

    Args:
        model: left untouched.
        whole: its trace for images of the whole size.
        names: names of the nodes.
        largest: greatest height and width of a tile in pixels; if twice the largest receptive field
            is larger, that counts.

    Returns:
        The tiles, all of one size.

    Raises:
        NoTilesError: a node depends on the whole image, its units are not evenly spaced, or they
            see other pixels in a tile.
    """
    if not whole.recording.faked:
        raise NoTilesError(f"{model.name} decides by its data what it computes")
    fields = {name: _local_field(whole, name) for name in names}
    size = whole.image_size
    rows_by_tile, columns_by_tile = (
        _split_axis(fields, axis, size[axis], largest) for axis in (0, 1)
    )
    return [
        _trace_tile(model, fields, [ImageTile(*spans) for spans in zip(rows, columns, strict=True)])
        for rows, columns in product(rows_by_tile, columns_by_tile)
    ]


def enlarge_tile(model: Model, whole: Trace, tile: TracedTile) -> TracedTile:
    """A larger tile that computes the same units: it begins a stride earlier where it can.

    Args:
        model: left untouched.
        whole: its trace for images of the whole size.
        tile: from `find_tiles`.

    Raises:
        NoTilesError: as `find_tiles`.
    """
    fields = {name: _local_field(whole, name) for name in tile.tiles}
    larger = [
        ImageTile(
            *(
                _begin_earlier(span, _greatest_stride(fields, axis), field.stride[axis] or 1)
                for axis, span in enumerate((smaller.rows, smaller.columns))
            )
        )
        for field, smaller in zip(fields.values(), tile.tiles.values(), strict=True)
    ]
    return _trace_tile(model, fields, larger)


def fix_mean(model: Model, image: Tensor) -> tuple[Model, bool]:
    """A model that subtracts the mean of this image, if the model subtracts each image's own mean.

    All tiles must subtract the same mean, that of the whole image.

    Args:
        model: the model.
        image: `(1, C, H, W)`, the whole image.

    Returns:
        The model, and whether it is another one.
    """
    if model.center != "image":
        return model, False
    mean = tuple(image.detach().mean(dim=(0, 2, 3)).tolist())
    return replace(model, center="data", mean=mean), True


def _local_field(whole: Trace, name: str) -> Field:
    """The field of a node whose units see a part of the image only."""
    node = whole.find_node(name)
    field = whole.field(node)
    if field is None:
        raise NoTilesError(f"{name} gives {whole.shape(node)}, not maps")
    if field.sees_whole_image:
        raise NoTilesError(f"{name} depends on the whole image through a global operation")
    return field


def _greatest_stride(fields: Mapping[str, Field], axis: int) -> int:
    """The greatest stride of some nodes along an axis, of which all strides are parts."""
    strides = {name: field.stride[axis] or 0 for name, field in fields.items()}
    greatest = max(strides.values())
    for name, stride in strides.items():
        if stride < 1 or fields[name].size[axis] is None or greatest % stride:
            raise NoTilesError(f"the units of {name} are not evenly spaced")
    return greatest


def _split_axis(
    fields: Mapping[str, Field], axis: int, length: int, largest: int
) -> list[tuple[TileSpan, ...]]:
    """Spans of one length along an axis: for each tile those of all nodes."""
    greatest = _greatest_stride(fields, axis)
    largest = max(largest, 2 * max(field.size[axis] or 0 for field in fields.values()))
    if length <= largest:
        counts = (len(field.low[axis]) for field in fields.values())
        return [tuple(TileSpan(0, length, 0, count, 0) for count in counts)]
    cells = min(len(field.low[axis]) for field in fields.values() if field.stride[axis] == greatest)
    for parts in range(2, cells + 1):
        bounds = [cells * part // parts for part in range(parts + 1)]
        tiles = [
            _units_between(fields, axis, greatest, first, stop, is_last=stop == cells)
            for first, stop in pairwise(bounds)
        ]
        pixels = [_pixels_of(fields, axis, greatest, length, units) for units in tiles]
        side = max(stop - start for start, stop in pixels)
        if side <= largest:
            return [
                _place_spans(fields, axis, min(start, length - side), side, units)
                for units, (start, _) in zip(tiles, pixels, strict=True)
            ]
    raise NoTilesError(f"no tile of at most {largest} pixels contains what its units see")


def _place_spans(
    fields: Mapping[str, Field],
    axis: int,
    start: int,
    length: int,
    units: Sequence[tuple[int, int]],
) -> tuple[TileSpan, ...]:
    """A tile along an axis for all nodes, with the first unit of each and one past the last."""
    return tuple(
        TileSpan(start, start + length, first, stop, start // (field.stride[axis] or 1))
        for field, (first, stop) in zip(fields.values(), units, strict=True)
    )


def _units_between(
    fields: Mapping[str, Field], axis: int, greatest: int, first: int, stop: int, *, is_last: bool
) -> list[tuple[int, int]]:
    """For each node the units from one position to another of the grid of the greatest stride."""
    units = []
    for field in fields.values():
        count = len(field.low[axis])
        times = greatest // (field.stride[axis] or 1)
        units.append((min(first * times, count), count if is_last else min(stop * times, count)))
    return units


def _pixels_of(
    fields: Mapping[str, Field],
    axis: int,
    greatest: int,
    length: int,
    units: Sequence[tuple[int, int]],
) -> tuple[int, int]:
    """First pixel that some units of each node see, and one past the last, on the stride grid."""
    seen = [
        (int(field.low[axis][first]), int(field.high[axis][stop - 1]))
        for field, (first, stop) in zip(fields.values(), units, strict=True)
        if first < stop
    ]
    start = max(0, min(low for low, _ in seen)) // greatest * greatest
    stop = min(length, max(high for _, high in seen) + 1)
    # The tile's length leaves the same remainder modulo the stride as the image's length.
    return start, stop + (length - stop) % greatest


def _begin_earlier(span: TileSpan, greatest: int, stride: int) -> TileSpan:
    start = max(0, span.start - greatest)
    return replace(span, start=start, unit_offset=start // stride)


def _trace_tile(
    model: Model, fields: Mapping[str, Field], tiles: Sequence[ImageTile]
) -> TracedTile:
    """A tile with its trace, in which each node's units see the same pixels as on the whole."""
    names = list(fields)
    partly = names[0] if len(names) == 1 else True
    tile_trace = trace(model, size=tiles[0].size, partly=partly)
    for (name, field), tile in zip(fields.items(), tiles, strict=True):
        if name not in tile_trace or not _has_same_fields(field, tile_trace, name, tile):
            raise NoTilesError(
                f"in tiles the units of {name} would not see what they see of the whole image"
            )
    return TracedTile(dict(zip(names, tiles, strict=True)), tile_trace)


def _has_same_fields(field: Field, tile_trace: Trace, name: str, tile: ImageTile) -> bool:
    """Whether the tile's units see the same pixels as on the whole image."""
    tile_field = tile_trace.field(tile_trace.find_node(name))
    if tile_field is None or tile_field.sees_whole_image:
        return False
    for axis, span in enumerate((tile.rows, tile.columns)):
        if span.first_unit < span.unit_offset:
            return False
        for whole, part in ((field.low, tile_field.low), (field.high, tile_field.high)):
            shifted = part[axis][span.own_units] + span.start
            if not torch.equal(shifted, whole[axis][span.units]):
                return False
    return True
