"""Grids of pictures, and enlarged pixels."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from convlens.errors import ConvlensError

WHITE = (255, 255, 255)


def enlarge(pixels: Tensor, times: int) -> Tensor:
    """Enlarge a picture by a whole factor; each pixel becomes a square with hard edges.

    Args:
        pixels: `(H, W, C)` of any type.
        times: the factor.

    Returns:
        `(times H, times W, C)`.

    Raises:
        ConvlensError: a factor below 1.
    """
    if times < 1:
        raise ConvlensError(f"enlarged {times} times; give a whole number of at least 1")
    return pixels.repeat_interleave(times, dim=0).repeat_interleave(times, dim=1)


def fit_tile(pixels: Tensor, least: int, most: int) -> Tensor:
    """A picture in color whose longer side has at most `most` pixels; small ones are enlarged.

    Args:
        pixels: uint8 `(H, W, 3)` or `(H, W)`.
        least: pixels up to which the longer side is enlarged, by a whole factor.
        most: pixels of the longer side, at most.

    Returns:
        uint8 `(H', W', 3)`.
    """
    picture = Image.fromarray(pixels.numpy()).convert("RGB")
    picture.thumbnail((most, most))
    return enlarge(torch.from_numpy(np.array(picture)), max(1, least // max(picture.size)))


def reduce_map(values: Tensor, most: int = 512) -> Tensor:
    """A map whose longer side has at most `most` values; larger ones are averaged.

    Args:
        values: floating point `(H, W)`.
        most: values along the longer side, at most; default 512.

    Returns:
        `(H', W')`, in the same proportions.
    """
    longer = max(values.shape)
    if longer <= most:
        return values
    height, width = (max(1, round(side * most / longer)) for side in values.shape)
    return F.adaptive_avg_pool2d(values[None], (height, width))[0]


def make_grid(
    tiles: Sequence[Tensor],
    columns: int,
    gap: int = 2,
    background: tuple[int, int, int] = WHITE,
) -> Tensor:
    """Arrange pictures in rows from the top left.

    Args:
        tiles: uint8 `(H, W, 3)` each. Cells have the largest height and the largest width of all
            tiles; smaller tiles are centered in their cells.
        columns: largest number of tiles in a row.
        gap: pixels between cells; there is no gap around the grid. Default: 2.
        background: color of gaps and of free parts of cells. Default: white.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        ConvlensError: no tiles, or no columns.
    """
    if not tiles or columns < 1:
        raise ConvlensError(f"a grid of {len(tiles)} tiles in {columns} columns; give one or more")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    picture = torch.tensor(background, dtype=torch.uint8).repeat(*size, 1)
    for index, tile in enumerate(tiles):
        high, wide, _ = tile.shape
        top = index // columns * (height + gap) + (height - high) // 2
        left = index % columns * (width + gap) + (width - wide) // 2
        picture[top : top + high, left : left + wide] = tile
    return picture
