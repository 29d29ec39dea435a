"""Shifted views of a photo: windows of a slightly larger image, and rolled images.

A "wide image" is larger than the model's image by a margin, so that windows of the model's size can
be cut from it at several offsets.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.models.model import Model
from convlens.passes.random_numbers import random_integers

_MARGIN_FRACTION = 7  # the margin is a seventh of the image where the preprocessing leaves none


def find_margin(model: Model) -> int:
    """By how many pixels a wide image exceeds the model's image, along each axis.

    This is what the center crop cuts off the resized photo, or else a seventh of the image.
    """
    short = min(model.size)
    resize = model.preprocessing.resize
    cut_off = 0 if resize is None else resize - max(model.size)
    return cut_off if cut_off > 0 else max(1, round(short / _MARGIN_FRACTION))


def with_margin(model: Model) -> Model:
    """The same model with a preprocessing that gives wide images.

    Where photos are squashed to the image nothing lies around it: the model stays as it is, and
    `pad_squashed` repeats the edges of its images.
    """
    preprocessing = model.preprocessing
    if preprocessing.resize is None:
        return model
    margin = find_margin(model)
    size = (model.size[0] + margin, model.size[1] + margin)
    resize = max(preprocessing.resize, *size)
    return replace(model, preprocessing=replace(preprocessing, size=size, resize=resize))


def pad_squashed(model: Model, images: Tensor) -> Tensor:
    """Pad images `(N, C, H, W)` of a model that squashes photos by a margin of repeated edges.

    Images of other models, and images that are already larger, are returned as they are.
    """
    if model.preprocessing.resize is not None or tuple(images.shape[2:]) != model.size:
        return images
    margin = find_margin(model)
    before, after = margin // 2, margin - margin // 2
    return F.pad(images, (before, after, before, after), mode="replicate")


def crop(wide: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """Cut the window `(N, C, *size)` whose upper left corner is at (top, left)."""
    return wide[:, :, top : top + size[0], left : left + size[1]]


def crop_center(wide: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut the center `(N, C, *size)` of wide images."""
    margins = [side - window for side, window in zip(wide.shape[2:], size, strict=True)]
    return crop(wide, margins[0] // 2, margins[1] // 2, size)


def crop_pairs(
    wide: Tensor, ids: Tensor, size: tuple[int, int], seed: int
) -> tuple[Tensor, Tensor] | None:
    """Cut two windows of each wide image, at offsets that are drawn for each image.

    Args:
        wide: `(N, C, H, W)`.
        ids: int64 `(N,)`, the number of each image in the data set.
        size: height and width of the windows.
        seed: seed of the offsets.

    Returns:
        Two batches `(N, C, *size)`; None if the images are not larger than the windows.
    """
    down, across = (side - window for side, window in zip(wide.shape[2:], size, strict=True))
    if min(down, across) < 1:
        return None
    offsets = random_integers(ids, 4, 2**31, seed) % torch.tensor(
        [down + 1, across + 1, down + 1, across + 1], dtype=torch.int64
    )
    first, second = (
        torch.cat(
            [
                crop(image[None], int(top), int(left), size)
                for image, (top, left) in zip(wide, corners, strict=True)
            ]
        )
        for corners in (offsets[:, :2], offsets[:, 2:])
    )
    return first, second


def roll_pairs(
    images: Tensor, ids: Tensor, largest_offset: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Roll each image around its edges twice, by offsets that are drawn for each image.

    Args:
        images: `(N, C, H, W)`.
        ids: int64 `(N,)`, the number of each image in the data set.
        largest_offset: largest offset in pixels, up and down and to both sides.
        seed: seed of the offsets.

    Returns:
        Two batches `(N, C, H, W)`.
    """
    offsets = random_integers(ids, 4, 2 * largest_offset + 1, seed) - largest_offset
    first, second = (
        torch.stack(
            [
                torch.roll(image, (int(down), int(right)), dims=(1, 2))
                for image, (down, right) in zip(images, shifts, strict=True)
            ]
        )
        for shifts in (offsets[:, :2], offsets[:, 2:])
    )
    return first, second
