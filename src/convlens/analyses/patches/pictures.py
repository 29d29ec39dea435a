"""Pictures of patches: receptive fields as tiles, rows of tiles, and sheets of channels."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from convlens.analyses.patches.windows import FieldBox, pixels_inside
from convlens.data.images import to_pixels
from convlens.drawing import make_sheet

TILE = 64  # pixels of a patch in a picture
FRAME = (214, 39, 40)  # color of the frame around a receptive field, and of what never fires

# Beside a field that is not square: neither the color of a light page nor of a dark one.
_BESIDE = (128, 128, 128)
_STRIPES = ((236, 236, 232), (206, 206, 200))  # colors of the padding


def draw_field(image: Tensor, box: FieldBox, bounds: tuple[float, float]) -> Tensor:
    """Draw a receptive field as a tile, uint8 `(TILE, TILE, 3)`.

    Small fields are enlarged with hard edges, large ones are shrunk by averaging; proportions are
    kept, with mid-gray beside a field that is not square. Padding is striped, and drawn at most an
    eighth as broad as the part inside the image.

    Args:
        image: `(C, H, W)` with C of 1 or 3.
        box: the field, with its padding.
        bounds: least and greatest pixel value of the image.
    """
    crop, inside = crop_field(image, _trim_padding(box, (image.shape[1], image.shape[2])))
    pixels = to_pixels(crop, bounds).expand(-1, -1, 3).contiguous()
    height, width = inside.shape
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resampling = PilImage.Resampling.NEAREST if scale > 1 else PilImage.Resampling.BOX
    resized = np.array(PilImage.fromarray(pixels.numpy()).resize(size, resampling))
    mask = np.array(PilImage.fromarray(inside.numpy()).resize(size, PilImage.Resampling.NEAREST))
    dimmed = torch.where(
        torch.from_numpy(mask)[..., None], torch.from_numpy(resized), _stripes(size[1], size[0])
    )
    picture = torch.tensor(_BESIDE, dtype=torch.uint8).repeat(TILE, TILE, 1)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    picture[top : top + size[1], left : left + size[0]] = dimmed
    return picture


def draw_framed_image(image: Tensor, box: FieldBox, bounds: tuple[float, float]) -> Tensor:
    """Draw a whole image as a tile, uint8 `(TILE, TILE, 3)`, with a frame around a field.

    Args:
        image: `(C, H, W)` with C of 1 or 3.
        box: the field.
        bounds: least and greatest pixel value of the image.
    """
    height, width = image.shape[1:]
    picture = draw_field(image, (0, height - 1, 0, width - 1), bounds)
    scale = TILE / max(height, width)
    top, bottom = _framed_pixels(box[0], box[1], height, scale)
    left, right = _framed_pixels(box[2], box[3], width, scale)
    frame = torch.tensor(FRAME, dtype=torch.uint8)
    picture[[top, bottom], left : right + 1] = frame
    picture[top : bottom + 1, [left, right]] = frame
    return picture


def _framed_pixels(first: int, last: int, length: int, scale: float) -> tuple[int, int]:
    """The first and the last pixel of a tile that lie on a field, in one direction.

    A field that lies entirely in the padding has its frame at the edge of the image, and a field
    below one pixel of the tile has a frame of one pixel.
    """
    drawn = max(1, round(length * scale))
    start, end = (round(min(max(side, 0), length) * scale) for side in (first, last + 1))
    start = min(start, drawn - 1)
    end = max(end - 1, start)
    before = (TILE - drawn) // 2  # the image is in the middle of the tile
    return before + start, before + end


def draw_strengths(strongest: Tensor, silent: Sequence[int]) -> Tensor:
    """Draw each channel of a layer as a pixel, from the top left in rows.

    Gray levels are the greatest activation: black is 0 or less, white the 95th percentile of the
    channels or more. Channels that never fire are red.

    Args:
        strongest: `(C,)`, the greatest activation of each channel.
        silent: numbers of the channels that never fire.

    Returns:
        uint8 `(H, W, 3)`, a square or one row less than that; the rest of the last row is mid-gray.
    """
    white = float(strongest.float().quantile(0.95))
    levels = (strongest.double() / max(white, 1e-30)).clamp(0, 1)
    width = math.ceil(math.sqrt(len(strongest)))
    height = math.ceil(len(strongest) / width)
    pixels = torch.full((height * width, 3), 128, dtype=torch.uint8)
    pixels[: len(strongest)] = (255 * levels).round().to(torch.uint8)[:, None]
    pixels[list(silent)] = torch.tensor(FRAME, dtype=torch.uint8)
    return pixels.view(height, width, 3)


def patch_row(tiles: Tensor, values: Sequence[float], count: int) -> Tensor:
    """A row of `count` tiles with their activations; missing ones are empty."""
    empty = torch.full((TILE, TILE, 3), 255, dtype=torch.uint8)
    num_missing = count - len(tiles)
    captions = [f"{value:.3g}" for value in values] + ["none"] * num_missing
    return make_sheet([*tiles, *[empty] * num_missing], count, captions=captions, gap=4)


def side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Pictures side by side, with a gap between them; the lower ones are extended in white."""
    height = max(len(part) for part in parts)
    gap = torch.full((height, 10, 3), 255, dtype=torch.uint8)
    pieces: list[Tensor] = []
    for part in parts:
        below = part.new_full((height - len(part), *part.shape[1:]), 255)
        pieces += [gap, torch.cat([part, below])]
    return torch.cat(pieces[1:], dim=1)


def _trim_padding(box: FieldBox, size: tuple[int, int]) -> FieldBox:
    """The box with padding on each side of at most an eighth of the part inside the image."""
    sides = []
    for axis, length in enumerate(size):
        low, high = box[2 * axis], box[2 * axis + 1]
        first, last = max(low, 0), min(high, length - 1)
        if first > last:  # all of it is padding
            sides += [low, high]
            continue
        margin = max(1, (last - first + 1) // 8)
        sides += [max(low, first - margin), min(high, last + margin)]
    return sides[0], sides[1], sides[2], sides[3]


def _stripes(height: int, width: int) -> Tensor:
    """Diagonal stripes with a period of eight pixels."""
    diagonal = torch.arange(height)[:, None] + torch.arange(width)
    is_dark = diagonal % 8 >= 4
    light, dark = (torch.tensor(color, dtype=torch.uint8) for color in _STRIPES)
    return torch.where(is_dark[..., None], dark, light)


def crop_field(image: Tensor, box: FieldBox) -> tuple[Tensor, Tensor]:
    """Cut a receptive field from an image, with its padding.

    On an axis on which the field contains the whole image, the padding is left out.

    Args:
        image: `(C, H, W)`.
        box: the field.

    Returns:
        The crop `(C, h, w)`, zero in the padding; and bool `(h, w)`, true inside the image.
    """
    top, bottom, left, right = box
    height, width = image.shape[1:]
    if top <= 0 and bottom >= height - 1:
        top, bottom = 0, height - 1
    if left <= 0 and right >= width - 1:
        left, right = 0, width - 1
    crop = image.new_zeros(len(image), bottom - top + 1, right - left + 1)
    inside = torch.zeros(crop.shape[1:], dtype=torch.bool)
    rows = pixels_inside(top, bottom, 0, height - 1)
    columns = pixels_inside(left, right, 0, width - 1)
    if rows.start == rows.stop or columns.start == columns.stop:
        return crop, inside
    target = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    crop[:, *target] = image[:, rows, columns]
    inside[target] = True
    return crop, inside
