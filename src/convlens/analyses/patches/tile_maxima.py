"""The strongest units of the maps of a large image, which is shown tile by tile."""

import torch
from torch import Tensor

from convlens.analyses.patches.spatial_max import spatial_max
from convlens.tracing.tiles import ImageTile


class TileMaxima:
    """The strongest units of each channel in the tiles of one image so far.

    Attributes:
        values: float32 `(k, C)`, the greatest activations, in falling order; fewer where a map has
            fewer positions.
        positions: int64 `(k, C)`, their positions, row · width + column, in the map of the whole
            image. Ties between equal activations are broken by the position, the smaller first.
        fired: int64 `(1, C)`, number of positions at which each channel is above 0.
    """

    def __init__(self, channels: int, *, width: int, most: int = 1) -> None:
        """Begin an image.

        Args:
            channels: number of channels C.
            width: number of columns of the map of the whole image.
            most: the number k of units of each channel that are kept; default: 1.
        """
        self._width, self._most = width, most
        self.values = torch.empty(0, channels, dtype=torch.float32)
        self.positions = torch.empty(0, channels, dtype=torch.int64)
        self.fired = torch.zeros(1, channels, dtype=torch.int64)

    def add(self, tile: ImageTile, units: Tensor) -> None:
        """Add the units `(1, C, h, w)` of a tile."""
        values, in_tile = _strongest(units, self._most)
        rows, columns = in_tile // units.shape[3], in_tile % units.shape[3]
        positions = (rows + tile.rows.first_unit) * self._width + columns + tile.columns.first_unit
        values = torch.cat([self.values, values])
        positions = torch.cat([self.positions, positions])
        by_position = positions.argsort(dim=0)
        values, positions = values.gather(0, by_position), positions.gather(0, by_position)
        # The sort is stable: ties stay in the order of positions.
        self.values, order = values.sort(dim=0, descending=True, stable=True)
        self.values = self.values[: self._most]
        self.positions = positions.gather(0, order[: self._most])
        self.fired += (units > 0).sum(dim=(2, 3)).cpu()


def _strongest(units: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The greatest values `(k, C)` of `(1, C, h, w)` and their positions, on the CPU."""
    channels = units.shape[1]
    if most == 1:
        greatest, find_positions = spatial_max(units)
        entries = torch.zeros(channels, dtype=torch.int64)
        positions = find_positions(entries, torch.arange(channels))
        return greatest.float().cpu(), positions[None]
    values, positions = units[0].flatten(1).sort(dim=1, descending=True, stable=True)
    return values[:, :most].T.float().cpu(), positions[:, :most].T.cpu()
