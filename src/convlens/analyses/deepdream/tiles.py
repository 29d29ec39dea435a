"""Tiles: the gradient of a sum over all units of a large image, computed for some units at a time.

A unit depends on its receptive field only, so the sum can be split by units. The units of a tile
are computed from the pixels that they see, and their gradient is added to those pixels. The sum
over all tiles is the gradient of the whole, without seams. Half as many pixels are computed twice
as with tiles that split the pixels.

`convlens.tracing.tiles` chooses the tiles.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.deepdream.objective import ActivationObjective
from convlens.capture.gradients import convert_gradient_errors
from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.tiles import ImageTile, NoTilesError, TileSpan, find_tiles, fix_mean
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace


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
    tiles: tuple[tuple[ImageTile, Trace], ...]

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
            gradient: zeros `(1, C, H, W)`, to which the gradient is added; default: no gradient is
                computed.
            is_interrupted: called before each tile; True stops the computation. Default: it is
                never stopped.
            after_tile: called after each tile; default: not called.

        Returns:
            The objective; None if the computation was stopped.
        """
        model, subtracts_mean = fix_mean(self.model, image)
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
    whole_tile = ImageTile(
        TileSpan(0, size[0], 0, map_size[0], 0), TileSpan(0, size[1], 0, map_size[1], 0)
    )
    tiles: tuple[tuple[ImageTile, Trace], ...] = ((whole_tile, whole_trace),)
    if largest is not None and max(size) > largest:
        with suppress(NoTilesError):
            traced = find_tiles(model, whole_trace, [node_name], largest=largest)
            tiles = tuple((tile.tiles[node_name], tile.trace) for tile in traced)
    return TilePlan(model, node_name, size, tiles)
