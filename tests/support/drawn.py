"""Finds a tile in a sheet, pixel by pixel."""

import torch
from torch import Tensor


def corner(sheet: Tensor, tile: Tensor) -> tuple[int, int]:
    """Top and left of the first place at which a tile `(h, w, 3)` stands in a sheet unchanged."""
    height, width = tile.shape[:2]
    rows, columns = len(sheet) - height + 1, sheet.shape[1] - width + 1
    possible = torch.ones(rows, columns, dtype=torch.bool)
    for y, x in ((0, 0), (height // 2, width // 2), (height // 3, width // 3)):
        possible &= (sheet[y : y + rows, x : x + columns] == tile[y, x]).all(dim=2)
    for top, left in possible.nonzero().tolist():
        if torch.equal(sheet[top : top + height, left : left + width], tile):
            return top, left
    raise AssertionError(f"no tile {tuple(tile.shape)} in a sheet {tuple(sheet.shape)}")


def holds(sheet: Tensor, tile: Tensor) -> bool:
    """Whether a tile stands in a sheet, unchanged."""
    try:
        corner(sheet, tile)
    except AssertionError:
        return False
    return True
