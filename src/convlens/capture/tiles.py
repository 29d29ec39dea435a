"""Capture of the maps of large images in tiles, where a run on the whole image takes much memory.

Tiles give the values of the whole image to float rounding (`convlens.tracing.tiles`). That the
receptive fields agree does not show that a network computes the same: it may add the coordinates of
each position, or divide by the size of the image. The last tile is therefore computed a second time
in a larger one, which begins elsewhere, and both have to agree.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from convlens.capture.nodes import capture_nodes, stream_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.memory import MemoryLimitError, largest_tile, state_tiles
from convlens.tracing.tiles import (
    ImageTile,
    NoTilesError,
    TracedTile,
    enlarge_tile,
    find_tiles,
    fix_mean,
)
from convlens.tracing.trace import Trace

_SAMPLED = 2**16  # values of a node that are compared


def capture_maps(model: Model, trace: Trace, images: Tensor, node: int) -> Tensor:
    """Capture the activations at a node, of large images in tiles.

    Args:
        model: the model that was traced; its network is left untouched.
        trace: made by `convlens.trace` for images of this size.
        images: `(N, C, H, W)` inside the bounds.
        node: index of the node.

    Returns:
        As `capture_nodes` returns them, without a graph.

    Raises:
        ConvlensError: as `capture_nodes`. Images that do not fit the memory are refused where the
            layer cannot be computed in tiles, because it depends on the whole image, for example.
    """
    reason = ""
    largest = largest_tile(trace, [node], (), model.dtype)
    if largest is not None:
        try:
            tiles = _find_tiles(model, trace, [node], largest)
            return _capture_in_tiles(model, trace, images, node, *tiles)
        except NoTilesError as error:
            reason = str(error)
    with explain_refusal(reason):
        return capture_nodes(model, trace, images, [node])[node]


def capture_from_layer(
    model: Model, trace: Trace, images: Tensor, gradient_nodes: Sequence[int]
) -> dict[int, Tensor]:
    """Capture nodes and the logits with their graph from these nodes on.

    For large images the maps of a single node are computed in tiles. The network then computes the
    logits from them: it runs on a tile, whose maps are exchanged for those of the whole image.

    Args:
        model: the model that was traced; its network is left untouched.
        trace: made by `convlens.trace` for images of this size.
        images: `(N, C, H, W)` inside the bounds.
        gradient_nodes: indices of the nodes, at which the autograd graph starts.

    Returns:
        As `capture_nodes` returns them.

    Raises:
        ConvlensError: as `capture_maps`.
    """
    reason, logits = "", trace.logits
    largest = largest_tile(trace, [logits, *gradient_nodes], gradient_nodes, model.dtype)
    if largest is not None:
        try:
            node = _single_way(trace, gradient_nodes)
            tiles = _find_tiles(model, trace, [node], largest)
            maps = _capture_in_tiles(model, trace, images, node, *tiles)
            return _continue_from(model, trace, images, node, maps, tiles)
        except NoTilesError as error:
            reason = str(error)
    with explain_refusal(reason):
        return capture_nodes(model, trace, images, [logits], gradient_nodes=gradient_nodes)


class TileStream:
    """Shows the units of several nodes of a large image tile by tile, without keeping any maps.

    Attributes:
        reason: why tiles are not possible although the image is large; otherwise empty.
    """

    def __init__(self, model: Model, trace: Trace, nodes: Sequence[int]) -> None:
        """Choose the tiles.

        Args:
            model: the model that was traced; its network is left untouched.
            trace: made by `convlens.trace` for images of the whole size.
            nodes: indices of the nodes.
        """
        self._model, self._nodes = model, {trace.name(node): node for node in nodes}
        self._tiles: list[TracedTile] = []
        self._larger: TracedTile | None = None
        self.reason = ""
        largest = largest_tile(trace, nodes, (), model.dtype, streamed=True)
        if largest is not None:
            try:
                self._tiles, self._larger = _find_tiles(model, trace, nodes, largest)
            except NoTilesError as error:
                self.reason = str(error)

    def runs_in_tiles(self, image: Tensor) -> bool:
        """Whether images of this size run in tiles.

        Args:
            image: `(1, C, H, W)`, on the first of which the tiles are compared with another one.
        """
        if self._larger is not None:
            try:
                _check_tiles(fix_mean(self._model, image)[0], image, self._tiles[-1], self._larger)
            except NoTilesError as error:
                self._tiles, self.reason = [], str(error)
            self._larger = None
        return bool(self._tiles)

    def stream(self, image: Tensor, callback: Callable[[int, ImageTile, Tensor], None]) -> None:
        """Call a function with the units of each node in each tile.

        Args:
            image: `(1, C, H, W)` inside the bounds.
            callback: called with the index of the node, the tile, and the units `(1, C, h, w)`,
                which the network may overwrite as soon as the callback returns.

        Raises:
            ConvlensError: as `stream_nodes`.
        """
        model, _ = fix_mean(self._model, image)
        for traced in self._tiles:
            names = {traced.trace.find_node(name): name for name in traced.tiles}
            show = partial(self._show_units, callback, traced, names)
            stream_nodes(model, traced.trace, _crop(traced, image), names, show)

    def _show_units(
        self,
        callback: Callable[[int, ImageTile, Tensor], None],
        traced: TracedTile,
        names: Mapping[int, str],
        node: int,
        maps: Tensor,
    ) -> None:
        tile = traced.tiles[names[node]]
        units = tile.crop_units(traced.trace.channels_first(node, maps))
        callback(self._nodes[names[node]], tile, units)


@contextmanager
def explain_refusal(reason: str) -> Iterator[None]:
    """Add to a refusal for lack of memory why tiles do not help.

    Args:
        reason: in words; empty where there is nothing to add.
    """
    try:
        yield
    except MemoryLimitError as error:
        if not reason:
            raise
        raise MemoryLimitError(f"{error}; tiles are not possible: {reason}") from error


def _single_way(trace: Trace, nodes: Sequence[int]) -> int:
    """The only one of the nodes, if every path from the image to the logits leads through it."""
    if len(nodes) > 1:
        raise NoTilesError("several layers are computed at once")
    if nodes[0] not in trace.structure.nodes_on_every_path(trace.logits):
        raise NoTilesError(f"the logits do not depend on {trace.name(nodes[0])} alone")
    return nodes[0]


def _find_tiles(
    model: Model, trace: Trace, nodes: Sequence[int], largest: int
) -> tuple[list[TracedTile], TracedTile]:
    """The tiles of some nodes, and a larger one around the units of the last tile."""
    names = [trace.name(node) for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        if name not in trace or trace.find_node(name) != node:
            raise NoTilesError(f"{name} has no name by which it is found in another trace")
    tiles = find_tiles(model, trace, names, largest=largest)
    if len(tiles) == 1:
        raise NoTilesError(f"the units of {names[-1]} see so much that a tile is the whole image")
    larger = enlarge_tile(model, trace, tiles[-1])
    state_tiles(trace, len(tiles), tiles[0].pixels.size)
    return tiles, larger


def _capture_in_tiles(
    model: Model,
    trace: Trace,
    images: Tensor,
    node: int,
    tiles: Sequence[TracedTile],
    larger: TracedTile,
) -> Tensor:
    """The activations at a node, assembled from those of the tiles."""
    name = trace.name(node)
    activations: Tensor | None = None
    for number, image in enumerate(images.split(1)):
        tile_model, _ = fix_mean(model, image)
        if number == 0:
            _check_tiles(tile_model, image, tiles[-1], larger)
        for traced in tiles:
            units = _capture_units(tile_model, traced, image, name)
            if activations is None:
                activations = units.new_empty(len(images), *trace.shape(node)[1:])
            maps = trace.channels_first(node, activations[number : number + 1])
            traced.tiles[name].crop_whole(maps).copy_(units)
    assert activations is not None
    return activations


def _capture_units(model: Model, traced: TracedTile, image: Tensor, name: str) -> Tensor:
    """The values `(1, C, h, w)` of a tile's units at one node."""
    node = traced.trace.find_node(name)
    captured = capture_nodes(model, traced.trace, _crop(traced, image), [node])[node]
    return traced.tiles[name].crop_units(traced.trace.channels_first(node, captured))


def _crop(traced: TracedTile, image: Tensor) -> Tensor:
    pixels = traced.pixels.crop_pixels(image).detach()
    return pixels.contiguous(memory_format=torch.channels_last)


def _check_tiles(model: Model, image: Tensor, tile: TracedTile, larger: TracedTile) -> None:
    """Refuse tiles whose values depend on where the tile lies, or on its size.

    Args:
        model: the model.
        image: `(1, C, H, W)`.
        tile: one of the tiles.
        larger: another tile with the same units.
    """
    in_larger_tile = _sample_units(model, larger, image)
    for name, values in _sample_units(model, tile, image).items():
        difference = float((in_larger_tile[name].double() - values.double()).abs().max())
        if not difference <= _tolerance(values) * _scale(values):
            raise NoTilesError(
                f"units of {name} have other values in other tiles, so they depend on more than "
                f"the pixels that they see"
            )


def _sample_units(model: Model, traced: TracedTile, image: Tensor) -> dict[str, Tensor]:
    """Some of a tile's values at each node, evenly spread, in one dimension."""
    names = {traced.trace.find_node(name): name for name in traced.tiles}
    samples: dict[str, Tensor] = {}

    def sample(node: int, maps: Tensor) -> None:
        units = traced.tiles[names[node]].crop_units(traced.trace.channels_first(node, maps))
        values = units.reshape(-1)
        # An odd step meets all columns of a map whose width is a power of 2.
        samples[names[node]] = values[:: len(values) // _SAMPLED | 1].clone()

    stream_nodes(model, traced.trace, _crop(traced, image), names, sample)
    return samples


def _continue_from(
    model: Model,
    trace: Trace,
    images: Tensor,
    node: int,
    maps: Tensor,
    tiles: tuple[list[TracedTile], TracedTile],
) -> dict[int, Tensor]:
    """Compute the logits from the maps of a node, with their graph.

    The network runs on tiles of two sizes, and must give the same both times: then nothing but the
    maps enters.
    """

    def run_on(tile: ImageTile) -> dict[int, Tensor]:
        return capture_nodes(
            model, trace, tile.crop_pixels(images).contiguous(), [trace.logits],
            gradient_nodes=[node], substitutes={node: maps},
        )  # fmt: skip

    small_tiles, larger_tile = tiles
    try:
        expected = run_on(larger_tile.pixels)[trace.logits].detach()
        activations = run_on(small_tiles[0].pixels)
    except MemoryLimitError as error:
        raise NoTilesError(
            f"what follows {trace.name(node)} takes too much memory itself"
        ) from error
    except ConvlensError as error:
        raise NoTilesError(
            f"the logits cannot be computed from {trace.name(node)} alone ({error})"
        ) from error
    difference = float((activations[trace.logits].detach() - expected).abs().max())
    if not difference <= _tolerance(expected) * _scale(expected):
        raise NoTilesError(
            f"the logits depend on the size of the image, and not on {trace.name(node)} alone"
        )
    return activations


def _tolerance(values: Tensor) -> float:
    """The greatest difference, in root mean squares, that counts as rounding."""
    return float(torch.finfo(values.dtype).eps ** 0.5)


def _scale(values: Tensor) -> float:
    """The root mean square of some values; 1 where they are all 0."""
    return float(values.double().square().mean().sqrt()) or 1.0
