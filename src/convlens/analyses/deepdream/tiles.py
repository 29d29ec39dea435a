"""Tiles: the gradient of a sum over all units of a large image, a part of the units at a time.

A unit sees its receptive field and no more. So the sum is taken apart by units: those of one tile
are computed from the pixels that they see, and their gradient is added to those pixels. What all
tiles add up to is the gradient of the whole, without seams, and the pixels that are run twice are
half as many as if the tiles were made of pixels.

A tile lies so that every layer inside it is in step with the same layer on the whole image: it
begins at a multiple of the stride, and leaves as much over by it as the image does, or ends with
the image. Its fields are compared with those of the whole before it is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from convlens.capture import backward, observe
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.trace import Trace, trace

# The weights (1, C, h, w) with which the units are summed up, and that sum.
Objective = Callable[[Tensor], tuple[Tensor, float]]


@dataclass(frozen=True)
class Stretch:
    """A tile along one axis: pixels `start` to `stop`, and the units `first` to `last` of the map.

    `shift` is the number of the unit in the whole map that the tile's own unit 0 is.
    """

    start: int
    stop: int
    first: int
    last: int
    shift: int


@dataclass(frozen=True)
class Tile:
    """Rows and columns of one tile."""

    rows: Stretch
    columns: Stretch

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def pixels(self, images: Tensor) -> Tensor:
        """Its part `(..., h, w)` of an image."""
        rows, columns = self.rows, self.columns
        return images[..., rows.start : rows.stop, columns.start : columns.stop]

    def units(self, maps: Tensor) -> Tensor:
        """Its units `(..., h, w)` in the maps that its own pixels give."""
        rows, columns = self.rows, self.columns
        return maps[
            ...,
            rows.first - rows.shift : rows.last - rows.shift,
            columns.first - columns.shift : columns.last - columns.shift,
        ]


@dataclass(frozen=True)
class Plan:
    """How the units of a node are computed for images of one size.

    Attributes:
        model: whose node it is.
        node_name: name of the node.
        size: height and width of the image.
        tiles: each with the trace of images of its size.
    """

    model: Model
    node_name: str
    size: tuple[int, int]
    tiles: tuple[tuple[Tile, Trace], ...]

    def slope(
        self,
        images: Tensor,
        objective: Objective,
        *,
        gradient: Tensor | None = None,
        asked: Callable[[], bool] = lambda: False,
        done: Callable[[], None] = lambda: None,
    ) -> float | None:
        """The sum over all units, and its gradient.

        Args:
            images: `(1, C, H, W)` inside the bounds.
            objective: given the units `(1, C, h, w)` of a tile, the weights at which they enter and
                what they come to.
            gradient: zeros `(1, C, H, W)`, to which the gradient is added; None: it is not taken.
            asked: asked before each tile whether to stop.
            done: called after each tile.

        Returns:
            The sum; None where it was stopped.
        """
        model, mean = _centerd(self.model, images)
        total = 0.0
        for tile, found in self.tiles:
            if asked():
                return None
            part = tile.pixels(images).clone(memory_format=torch.channels_last)
            part.requires_grad_(gradient is not None)
            node = found.find_node(self.node_name)
            with torch.set_grad_enabled(gradient is not None):
                seen = observe(model, found, part, [node])[node]
            maps = found.channels_first(node, seen)
            weights, worth = objective(tile.units(maps.detach()))
            total += worth
            if gradient is not None:
                directions = torch.zeros_like(maps)
                tile.units(directions).copy_(weights)
                with backward():
                    (slope,) = torch.autograd.grad(maps, part, directions)
                tile.pixels(gradient).add_(slope.to(gradient))
            done()
        if gradient is not None and mean:
            # Each pixel also moves the mean that is subtracted from all.
            gradient.sub_(gradient.mean(dim=(2, 3), keepdim=True))
        return total


def plan(model: Model, size: tuple[int, int], node_name: str, *, most: int | None) -> Plan:
    """Tiles that hold all units of a node between them, each exactly once.

    Args:
        model: left untouched.
        size: height and width of the image.
        node_name: name of a node with maps.
        most: height and width of a tile in pixels, at most, or twice the receptive field if that is
            more. None: a single tile. So is a layer that sees the whole image through a global
            operation, or whose units do not lie evenly: it cannot be taken apart.

    Raises:
        TraceError: the network does not run on such an image as far as the node.
    """
    whole = trace(model, size=size, partly=node_name)
    node = whole.find_node(node_name)
    field = whole.field(node)
    if field is None:
        raise ConvlensError(
            f"{node_name} of {model.name} gives {whole.shape(node)} for an image of "
            f"{size[0]} x {size[1]}, not maps; give a larger photo or a layer before it"
        )
    maps = (len(field.low[0]), len(field.low[1]))
    single = Tile(Stretch(0, size[0], 0, maps[0], 0), Stretch(0, size[1], 0, maps[1], 0))
    alone = Plan(model, node_name, size, ((single, whole),))
    if most is None or max(size) <= most or field.beyond:
        return alone
    axes = []
    for axis in (0, 1):
        found = _stretches(field, axis, size[axis], most)
        if found is None:
            return alone
        axes.append(found)
    tiles = []
    for rows, columns in product(*axes):
        tile = Tile(rows, columns)
        own = trace(model, size=tile.size, partly=node_name)
        if not _in_step(field, own, node_name, tile):
            return alone
        tiles.append((tile, own))
    return Plan(model, node_name, size, tuple(tiles))


def _centerd(model: Model, images: Tensor) -> tuple[Model, bool]:
    """The model with this image's mean, where it subtracts each image's own: tiles share it."""
    if model.center != "image":
        return model, False
    mean = tuple(images.detach().mean(dim=(0, 2, 3)).tolist())
    return replace(model, center="data", mean=mean), True


def _stretches(field: Field, axis: int, length: int, most: int) -> Sequence[Stretch] | None:
    """The tiles along one axis, about equally long; None where the units do not lie evenly."""
    low, high = field.low[axis].tolist(), field.high[axis].tolist()
    stride, extent = field.stride[axis], field.size[axis]
    if stride is None or extent is None or stride < 1:
        return None
    most = max(most, 2 * extent)
    count = len(low)
    for parts in range(1, count + 1):
        found = [
            _stretch(low, high, length, stride, count * part // parts, count * (part + 1) // parts)
            for part in range(parts)
        ]
        if all(one.stop - one.start <= most for one in found):
            return found
    return None


def _stretch(
    low: list[int], high: list[int], length: int, stride: int, first: int, last: int
) -> Stretch:
    start = max(0, low[first]) // stride * stride
    least = min(length, high[last - 1] + 1)
    # As much over a multiple of the stride as the image, which itself has it.
    stop = least + (length - least) % stride
    return Stretch(start, stop, first, last, start // stride)


def _in_step(field: Field, own: Trace, node_name: str, tile: Tile) -> bool:
    """Whether the tile's units see what they see of the whole image, pixel by pixel."""
    inner = own.field(own.find_node(node_name))
    if inner is None or inner.beyond:
        return False
    for axis, one in enumerate((tile.rows, tile.columns)):
        units = slice(one.first, one.last)
        inside = slice(one.first - one.shift, one.last - one.shift)
        for whole, part in ((field.low, inner.low), (field.high, inner.high)):
            moved = part[axis][inside] + one.start
            if not torch.equal(moved, whole[axis][units]):
                return False
    return True
