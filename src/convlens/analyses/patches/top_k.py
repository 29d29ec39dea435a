"""A table of the k strongest activations of each channel, and how ties between them are broken.

Entries are sorted by activation, the greatest first. Ties between equal activations are broken by
the image's number and then by the position in the map, the smaller first. The order is therefore
total, and a table is the same in whatever order and grouping the data is taken in.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from convlens.passes.reducer import State

COLUMNS = ("values", "images", "positions")
NO_IMAGE = torch.iinfo(torch.int64).max  # number of the image of an entry that is still free
_POSITION_BITS = 24  # low bits of a sort key; the high bits are the image's number
_LARGEST_IMAGE = 2 ** (63 - _POSITION_BITS) - 1

FindPositions = Callable[[Tensor, Tensor], Tensor]


def empty_table(channels: int, top: int) -> State:
    """A table of free entries.

    Args:
        channels: number of channels C.
        top: number of entries k of each channel.

    Returns:
        `values` float32, `images` int64 and `positions` int64, `(C, k)` each.
    """
    return {
        "values": torch.full((channels, top), -torch.inf, dtype=torch.float32),
        "images": torch.full((channels, top), NO_IMAGE, dtype=torch.int64),
        "positions": torch.zeros(channels, top, dtype=torch.int64),
    }


def insert(
    table: State, activations: Tensor, images: Tensor, positions: FindPositions | Tensor
) -> None:
    """Enter, in place, the activations that belong among the strongest of their channel.

    Args:
        table: from `empty_table`; it may hold further tensors.
        activations: float32 `(E, C)`, an activation of each channel for each of E entries.
        images: int64 `(E,)`, the number of the image of each entry.
        positions: int64 `(E, C)`, the position in the map of each activation; or a function that
            finds the positions of some (entries, channels). Once a table has seen some data, few
            entries make it into the table, so that few positions have to be found.
    """
    values = activations.T
    least, last_image = table["values"][:, -1:], table["images"][:, -1:]
    enters = (values > least) | ((values == least) & (images <= last_image))
    channels = enters.any(dim=1).nonzero().flatten()
    if len(channels) == 0:
        return
    row, entry = enters[channels].nonzero(as_tuple=True)
    where = torch.zeros(len(channels), values.shape[1], dtype=torch.int64)
    where[row, entry] = (
        positions[entry, channels[row]]
        if isinstance(positions, Tensor)
        else positions(entry, channels[row])
    )
    new_entries = {
        "values": values[channels].masked_fill(~enters[channels], -torch.inf),
        "images": images.expand(len(channels), -1).masked_fill(~enters[channels], NO_IMAGE),
        "positions": where,
    }
    entries = {
        name: torch.cat([table[name][channels], new_entries[name]], dim=1) for name in COLUMNS
    }
    for name, strongest in _first_entries(entries, table["values"].shape[1]).items():
        table[name][channels] = strongest


def merge(table_a: Mapping[str, Tensor], table_b: Mapping[str, Tensor]) -> State:
    """The strongest entries of two tables of the same shape."""
    entries = {name: torch.cat([table_a[name], table_b[name]], dim=1) for name in COLUMNS}
    return _first_entries(entries, table_a["values"].shape[1])


def _first_entries(entries: State, count: int) -> State:
    """The k strongest entries of each channel; ties are broken by image, then by position."""
    keys = (entries["images"].clamp(max=_LARGEST_IMAGE) << _POSITION_BITS) | entries["positions"]
    by_key = keys.argsort(dim=1)
    values = entries["values"].gather(1, by_key)
    # The sort is stable: ties stay in the order of images and positions.
    by_value = torch.sort(values, dim=1, descending=True, stable=True).indices[:, :count]
    order = by_key.gather(1, by_value)
    return {name: column.gather(1, order) for name, column in entries.items()}
