"""What is drawn for an image, by its number: the same in whatever batch and order it comes."""

from collections.abc import Callable

import torch
from torch import Tensor

from convlens.analyses.patches.activation_statistics import random_keys


def signs(images: Tensor, ids: Tensor, seed: int) -> Tensor:
    """Random signs, -1 or 1, of the images' shape and type.

    Args:
        images: `(N, C, H, W)`.
        ids: int64 `(N,)`, the number of each in the data set.
        seed: of all of them.
    """
    return _each(
        images, ids, seed, lambda shape, by: torch.randint(0, 2, shape, generator=by) * 2.0 - 1
    )


def uniform(images: Tensor, ids: Tensor, seed: int) -> Tensor:
    """Numbers evenly from -1 to 1, of the images' shape and type."""
    return _each(images, ids, seed, lambda shape, by: torch.rand(shape, generator=by) * 2 - 1)


def integers(ids: Tensor, count: int, below: int, seed: int) -> Tensor:
    """int64 `(N, count)` of 0 to `below` - 1, for each image."""
    return random_keys(ids.cpu(), count, seed) % below


def _each(
    images: Tensor,
    ids: Tensor,
    seed: int,
    draw: Callable[[tuple[int, ...], torch.Generator], Tensor],
) -> Tensor:
    drawn = torch.empty_like(images)
    for row, key in enumerate(random_keys(ids.cpu(), 1, seed)[:, 0].tolist()):
        drawn[row] = draw(tuple(images.shape[1:]), torch.Generator().manual_seed(key)).to(images)
    return drawn
