"""Pictures side by side, and small ones made large."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.errors import ConvlensError

WHITE = (255, 255, 255)


def enlarge(pixels: Tensor, times: int) -> Tensor:
    """Each pixel as a square of `times` × `times`, with hard edges: `(H, W, C)` to larger."""
    if times < 1:
        raise ConvlensError(f"enlarged {times} times; give a whole number of at least 1")
    return pixels.repeat_interleave(times, dim=0).repeat_interleave(times, dim=1)


def make_grid(
    tiles: Sequence[Tensor],
    columns: int,
    gap: int = 2,
    background: tuple[int, int, int] = WHITE,
) -> Tensor:
    """Pictures in rows, from the top left, as one picture.

    Args:
        tiles: uint8 `(H, W, 3)` each. All cells are as large as the largest height and width;
            smaller tiles stand in the middle of theirs.
        columns: tiles in a row, at most.
        gap: pixels between cells; there are none around the whole.
        background: color of gaps and of what the tiles leave free.

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
