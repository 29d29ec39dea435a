"""Augmentation of a batch, drawn for each image from torch's global random state.

Images are normalized, so that zero is the average and what is shifted in or erased is that.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_ERASED = (1 / 8, 1 / 2)  # of each side, least and most


def augment(images: Tensor, *, shift: int, flip: bool, erase: float) -> Tensor:
    """Images `(N, C, H, W)` shifted, flipped and partly erased, each on its own.

    Args:
        images: normalized.
        shift: greatest shift along each axis in pixels, all whole shifts equally probable.
        flip: whether left and right change places in half of them.
        erase: probability that a rectangle, each side 1/8 to 1/2 of the image's, becomes zero.
    """
    if shift:
        images = shifted(images, _whole(-shift, shift, images), _whole(-shift, shift, images))
    if flip:
        chosen = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(chosen[:, None, None, None], images.flip(3), images)
    if erase:
        images = images.masked_fill(_rectangles(images, erase)[:, None], 0.0)
    return images


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each image moved by its own number of whole pixels, zeros coming in.

    Args:
        images: `(N, C, H, W)`.
        down: int64 `(N,)`, negative for up.
        right: int64 `(N,)`, negative for left.
    """
    count, _, height, width = images.shape
    margin = int(max(down.abs().max(), right.abs().max()))
    padded = F.pad(images, (margin,) * 4)
    rows = torch.arange(height, device=images.device) + margin - down[:, None]
    columns = torch.arange(width, device=images.device) + margin - right[:, None]
    each = torch.arange(count, device=images.device)[:, None, None]
    # Channels come last here, so that one pixel is copied as a whole.
    moved = padded.movedim(1, 3)[each, rows[:, :, None], columns[:, None, :]]
    return moved.movedim(3, 1)


def _rectangles(images: Tensor, probability: float) -> Tensor:
    """Bool `(N, H, W)`: inside the rectangle of each image that has one."""
    inside = None
    for axis in (2, 3):
        length = images.shape[axis]
        least, most = (round(share * length) for share in _ERASED)
        extent = _whole(max(1, least), max(1, most), images)
        start = (torch.rand(len(images), device=images.device) * (length - extent + 1)).long()
        position = torch.arange(length, device=images.device)
        along = (position >= start[:, None]) & (position < (start + extent)[:, None])
        inside = along[:, :, None] if inside is None else inside & along[:, None, :]
    assert inside is not None
    chosen = torch.rand(len(images), device=images.device) < probability
    return inside & chosen[:, None, None]


def _whole(least: int, most: int, images: Tensor) -> Tensor:
    return torch.randint(least, most + 1, (len(images),), device=images.device)
