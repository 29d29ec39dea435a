"""Random shifts, mirroring and erasing of a batch of normalized images.

Every image gets its own random numbers from torch's global generator. Because the images are
normalized, the zeros that fill shifted and erased areas are the average color.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_ERASED_SIDES = (1 / 8, 1 / 2)  # smallest and largest share of each side


def augment(images: Tensor, *, shift: int, flip: bool, erase: float) -> Tensor:
    """Shift, mirror and erase each image of a batch at random.

    Args:
        images: normalized images `(N, C, H, W)`.
        shift: largest shift along each axis in pixels; all whole shifts are equally likely.
        flip: mirror half of the images left to right.
        erase: probability that a rectangle, with sides of 1/8 to 1/2 of the image's, becomes zero
            (random erasing, Zhong et al. 2020).

    Returns:
        The augmented images `(N, C, H, W)`.
    """
    if shift:
        images = shift_images(
            images, _random_integers(-shift, shift, images), _random_integers(-shift, shift, images)
        )
    if flip:
        selected = torch.rand(len(images), device=images.device, dtype=torch.float32) < 0.5
        images = torch.where(selected[:, None, None, None], images.flip(3), images)
    if erase:
        images = images.masked_fill(_random_rectangles(images, erase)[:, None], 0.0)
    return images


def shift_images(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image by its own number of whole pixels and fill the rest with zeros.

    Args:
        images: `(N, C, H, W)`.
        down: int64 `(N,)`, negative for up.
        right: int64 `(N,)`, negative for left.

    Returns:
        The moved images `(N, C, H, W)`.
    """
    count, _, height, width = images.shape
    margin = int(max(down.abs().max(), right.abs().max()))
    padded = F.pad(images, (margin,) * 4)
    rows = torch.arange(height, device=images.device) + margin - down[:, None]
    columns = torch.arange(width, device=images.device) + margin - right[:, None]
    each = torch.arange(count, device=images.device)[:, None, None]
    # With the channels last, a pixel is copied as a whole.
    moved = padded.movedim(1, 3)[each, rows[:, :, None], columns[:, None, :]]
    return moved.movedim(3, 1)


def _random_rectangles(images: Tensor, probability: float) -> Tensor:
    """Bool `(N, H, W)`: whether a pixel lies in the rectangle that is erased in its image."""
    inside = None
    for axis in (2, 3):
        length = images.shape[axis]
        least, most = (round(share * length) for share in _ERASED_SIDES)
        extent = _random_integers(max(1, least), max(1, most), images)
        start = (
            torch.rand(len(images), device=images.device, dtype=torch.float32)
            * (length - extent + 1)
        ).long()
        position = torch.arange(length, device=images.device)
        along = (position >= start[:, None]) & (position < (start + extent)[:, None])
        inside = along[:, :, None] if inside is None else inside & along[:, None, :]
    assert inside is not None
    selected = torch.rand(len(images), device=images.device, dtype=torch.float32) < probability
    return inside & selected[:, None, None]


def _random_integers(least: int, most: int, images: Tensor) -> Tensor:
    return torch.randint(least, most + 1, (len(images),), device=images.device)
