"""The greatest activation of each map, and where it is, by the least reading of memory."""

import torch
from torch import Tensor

from convlens.analyses.patches.top_k import Positions


def spatial_max(maps: Tensor) -> tuple[Tensor, Positions]:
    """The greatest of each map, and a function that finds the positions of chosen ones.

    Args:
        maps: `(N, C, h, w)`, in either memory layout.

    Returns:
        `(N, C)` of the maps' type, on their device; and a function of entries `(M,)` and channels
        `(M,)` that gives the position, row · w + column, of the first greatest value of each.
    """
    count, channels, height, width = maps.shape
    if maps.is_contiguous() or not maps.is_contiguous(memory_format=torch.channels_last):
        flat = maps.flatten(2)

        def among_all(entries: Tensor, of: Tensor) -> Tensor:
            return flat[entries.to(maps.device), of.to(maps.device)].argmax(dim=1).cpu()

        return flat.amax(dim=2), among_all

    # Here a map is scattered over memory. With the greatest of each row at hand, one column of
    # them and one row of the map are all that has to be gathered.
    last = maps.movedim(1, 3)
    rows = last.reshape(count * height, width, channels).amax(dim=1)
    rows = rows.view(count, height, channels)

    def by_rows(entries: Tensor, of: Tensor) -> Tensor:
        entries, of = entries.to(maps.device), of.to(maps.device)
        row = rows[entries, :, of].argmax(dim=1)
        column = last[entries, row, :, of].argmax(dim=1)
        return (row * width + column).cpu()

    return rows.amax(dim=1), by_rows
