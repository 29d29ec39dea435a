"""Pictures of Grad-CAM maps: overlays with the bar of their scale, strips of layers.

Everything here takes tensors and returns tensors; `GradCam` and
`GradCamLayers` call it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.drawing import (
    add_caption,
    add_signed_color_bar,
    draw_boxes,
    enlarge,
    overlay,
)

UNIT = "logit"
_SHORT_SIDE = 160  # pixels that a saved picture has at least, so that numbers fit beside it
_GAP = 12  # pixels between the pictures of a strip

Outline = tuple[float, ...]  # left, top, right and bottom in pixels of the image


def draw_overlays(photos: Tensor, on_image: Tensor, scale: float) -> Tensor:
    """Draw maps over photos in gray; positive values are red, negative ones blue.

    Args:
        photos: uint8 `(N, H, W, 3)`.
        on_image: maps at the photos' pixels, float `(N, K, H, W)`.
        scale: value with the strongest color.

    Returns:
        uint8 `(N, K, H, W, 3)`.
    """
    return torch.stack([
        torch.stack([overlay(photo, values, scale) for values in maps])
        for photo, maps in zip(photos, on_image, strict=True)
    ])  # fmt: skip


def enlarge_photo(photo: Tensor) -> Tensor:
    """Enlarge a small photo `(H, W, 3)` a whole number of times, with hard edges."""
    return enlarge(photo, _factor(photo))


def finish_overlay(
    pixels: Tensor, scale: float, outlines: Sequence[Outline], note: str = ""
) -> Tensor:
    """Enlarge one overlay and add outlines, the bar of the scale and a note.

    Args:
        pixels: uint8 `(H, W, 3)`. A small overlay is enlarged a whole number of times.
        scale: value with the strongest color, in logits.
        outlines: boxes that are drawn on it, in pixels of the overlay.
        note: text beneath the picture; default: none.
    """
    factor = _factor(pixels)
    enlarged = [tuple(factor * edge for edge in outline) for outline in outlines]
    picture = add_signed_color_bar(draw_boxes(enlarge(pixels, factor), enlarged), scale, UNIT)
    return add_caption(picture, note) if note else picture


def join_strip(tiles: Sequence[Tensor]) -> Tensor:
    """Pictures side by side on white, aligned at the top."""
    height = max(len(tile) for tile in tiles)
    parts = []
    for tile in tiles:
        below = tile.new_full((height - len(tile), *tile.shape[1:]), 255)
        parts += [torch.cat([tile, below]), tile.new_full((height, _GAP, 3), 255)]
    return torch.cat(parts[:-1], dim=1)


def _factor(pixels: Tensor) -> int:
    """How many times a picture is enlarged."""
    return max(1, -(-_SHORT_SIDE // min(pixels.shape[:2])))
