"""The activations of layers at sampled positions, which two networks have in common.

Layers differ in resolution, so positions are drawn as shares of height and width: a sample is the
cell of each layer's map that holds the same point of the photo.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from convlens.capture.nodes import stream_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.passes.random_numbers import random_integers
from convlens.tracing.selection import ChannelSource
from convlens.tracing.trace import Trace

_BATCH_SIZE = 16  # images
_STEPS = 2**20  # of a position along an axis


def sample_features(
    model: Model,
    trace: Trace,
    images: Tensor,
    ids: Tensor,
    sources: Sequence[ChannelSource],
    *,
    positions: int,
    seed: int,
) -> list[Tensor]:
    """The activations of each layer at the sampled positions of all images.

    Args:
        model: the model; left untouched.
        trace: its trace.
        images: `(N, C, H, W)` inside the bounds.
        ids: int64 `(N,)`; images of the same number get the same positions in every network.
        sources: the layers.
        positions: number of positions of each image.
        seed: seed of the positions.

    Returns:
        For each layer float32 `(N positions, channels)`, image by image.

    Raises:
        ConvlensError: an activation is NaN or infinite.
    """
    points = random_integers(ids, 2 * positions, _STEPS, seed).double() / _STEPS
    parts: dict[int, list[Tensor]] = {source.node: [] for source in sources}
    by_node = {source.node: source for source in sources}
    for start in range(0, len(images), _BATCH_SIZE):
        span = slice(start, start + _BATCH_SIZE)
        keep = partial(_keep, parts, by_node, points[span])
        stream_nodes(model, trace, images[span], list(parts), keep)
    features = [torch.cat(parts[source.node]) for source in sources]
    for source, values in zip(sources, features, strict=True):
        if not bool(values.isfinite().all()):
            raise ConvlensError(
                f"the activations of {model.name} at {source.layer} are NaN or infinite; look for "
                f"NaN in its weights"
            )
    return features


def _keep(
    parts: dict[int, list[Tensor]],
    sources: Mapping[int, ChannelSource],
    points: Tensor,
    node: int,
    maps: Tensor,
) -> None:
    """Keep the activations `(N positions, C)` of a batch at its positions."""
    maps = sources[node].channels_first(maps)
    height, width = maps.shape[-2:]
    rows = (points[:, 0::2] * height).long().to(maps.device)
    columns = (points[:, 1::2] * width).long().to(maps.device)
    images = torch.arange(len(maps), device=maps.device)[:, None]
    parts[node].append(maps[images, :, rows, columns].flatten(0, 1).float().cpu())


def unrelated_orders(photos: int, positions: int, draws: int, seed: int) -> list[Tensor]:
    """Orders of the samples in which no photo is at its own place.

    Args:
        photos: number of photos.
        positions: number of samples of each photo, which stay together and in order.
        draws: greatest number of orders.
        seed: seed of the orders.

    Returns:
        int64 `(photos positions,)` each; as many as there are, if these are fewer than `draws`.
    """
    generator = torch.Generator().manual_seed(seed)
    orders = []
    for step in range(1, min(draws, photos - 1) + 1):
        circle = torch.randperm(photos, generator=generator)
        order = torch.empty_like(circle)
        order[circle] = circle.roll(step)
        samples = order[:, None] * positions + torch.arange(positions)
        orders.append(samples.flatten())
    return orders
