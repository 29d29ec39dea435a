"""The greatest activation of each feature map and its position, read from memory only once."""

import torch
from torch import Tensor

from convlens.analyses.patches.top_k import FindPositions


def spatial_max(maps: Tensor) -> tuple[Tensor, FindPositions]:
    """Find the greatest activation of each map, and on demand its position.

    Args:
        maps: `(N, C, h, w)`, contiguous or in channels-last memory format.

    Returns:
        The greatest activations `(N, C)`, of the maps' type and on their device; and a function of
        entries `(M,)` and channels `(M,)` that finds the positions, row · w + column, at which
        each of these maps is greatest for the first time.
    """
    count, channels, height, width = maps.shape
    if maps.is_contiguous() or not maps.is_contiguous(memory_format=torch.channels_last):
        flat = maps.flatten(2)

        def find_in_maps(entries: Tensor, of_channels: Tensor) -> Tensor:
            selected = flat[entries.to(maps.device), of_channels.to(maps.device)]
            return selected.argmax(dim=1).cpu()

        return flat.amax(dim=2), find_in_maps

    # In channels-last format a map is scattered over memory. From the greatest value of each row
    # only one column of these values and one row of the map have to be gathered.
    channels_last = maps.movedim(1, 3)
    row_max = channels_last.reshape(count * height, width, channels).amax(dim=1)
    row_max = row_max.view(count, height, channels)

    def find_by_rows(entries: Tensor, of_channels: Tensor) -> Tensor:
        entries, of_channels = entries.to(maps.device), of_channels.to(maps.device)
        row = row_max[entries, :, of_channels].argmax(dim=1)
        column = channels_last[entries, row, :, of_channels].argmax(dim=1)
        return (row * width + column).cpu()

    return row_max.amax(dim=1), find_by_rows
