"""Pictures of Grad-CAM maps: overlays with the bar of their scale, strips of layers, figures.

Everything here takes tensors and returns tensors or matplotlib figures; `GradCam` and
`GradCamLayers` call it.
"""

from collections.abc import Sequence

import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from convlens.drawing import (
    add_caption,
    add_signed_color_bar,
    draw_boxes,
    enlarge,
    overlay,
    overlay_colors,
)
from convlens.text import plot_text

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


def overlay_figure(overlays: Tensor, titles: Sequence[Sequence[str]], scale: float) -> Figure:
    """Plot a row of overlays for each image, with one color bar.

    Args:
        overlays: uint8 `(N, K, H, W, 3)`.
        titles: the title of each overlay, by image.
        scale: value with the strongest color, in logits.
    """
    image_count, class_count = overlays.shape[:2]
    figure = Figure(figsize=(3 * class_count + 1, 3.3 * image_count), layout="constrained")
    all_axes = figure.subplots(image_count, class_count, squeeze=False)
    for image, row in enumerate(all_axes):
        for rank, axes in enumerate(row):
            axes.imshow(overlays[image, rank].numpy(), interpolation="nearest")
            axes.set_title(plot_text(titles[image][rank]))
            axes.set_axis_off()
    if scale > 0:
        colors = ListedColormap((overlay_colors(255).float() / 255).tolist())
        mappable = ScalarMappable(Normalize(-scale, scale), colors)
        figure.colorbar(mappable, ax=all_axes, label=UNIT, shrink=0.8)
    return figure


def strip_figure(strips: Sequence[Tensor], tile_count: int) -> Figure:
    """Plot strips of `tile_count` pictures, one beneath the other."""
    figure = Figure(figsize=(2.6 * tile_count, 2.6 * len(strips)), layout="constrained")
    rows = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axes, strip in zip(rows, strips, strict=True):
        axes.imshow(strip.numpy())
        axes.set_axis_off()
    return figure


def _factor(pixels: Tensor) -> int:
    """How many times a picture is enlarged."""
    return max(1, -(-_SHORT_SIDE // min(pixels.shape[:2])))
