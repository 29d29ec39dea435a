"""The strongest activations of each channel, as a table that any order of data fills alike."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from convlens.passes.reducer import State

COLUMNS = ("values", "images", "positions")
NO_IMAGE = torch.iinfo(torch.int64).max  # image of an entry that is still free
_POSITION_BITS = 24  # of a key for sorting; the others are the image's
_MOST_IMAGES = 2 ** (63 - _POSITION_BITS) - 1

Positions = Callable[[Tensor, Tensor], Tensor]


def empty(channels: int, top: int) -> State:
    """A table of `top` free entries a channel: values `(C, k)`, images and positions likewise."""
    return {
        "values": torch.full((channels, top), -torch.inf),
        "images": torch.full((channels, top), NO_IMAGE),
        "positions": torch.zeros(channels, top, dtype=torch.int64),
    }


def insert(table: State, peaks: Tensor, images: Tensor, positions: Positions | Tensor) -> None:
    """Enter what belongs among the strongest, in place.

    Sorted by value, greatest first; equal values by image, then by position, least first.

    Args:
        table: from `empty`; it may hold more than its columns.
        peaks: float32 `(E, C)`, an activation for each of E entries.
        images: int64 `(E,)`, the image of each.
        positions: int64 `(E, C)`, or a function that gives those of chosen (entries, channels):
            few entries make it into a table that has seen some data, so few are looked for.
    """
    values = peaks.T
    worst, last = table["values"][:, -1:], table["images"][:, -1:]
    enters = (values > worst) | ((values == worst) & (images <= last))
    rows = enters.any(dim=1).nonzero().flatten()
    if len(rows) == 0:
        return
    channel, entry = enters[rows].nonzero(as_tuple=True)
    where = torch.zeros(len(rows), values.shape[1], dtype=torch.int64)
    where[channel, entry] = (
        positions[entry, rows[channel]]
        if isinstance(positions, Tensor)
        else positions(entry, rows[channel])
    )
    fresh = {
        "values": values[rows].masked_fill(~enters[rows], -torch.inf),
        "images": images.expand(len(rows), -1).masked_fill(~enters[rows], NO_IMAGE),
        "positions": where,
    }
    both = {name: torch.cat([table[name][rows], fresh[name]], dim=1) for name in COLUMNS}
    for name, kept in _first(both, table["values"].shape[1]).items():
        table[name][rows] = kept


def merge(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
    """The strongest of two tables of the same shape."""
    both = {name: torch.cat([one[name], other[name]], dim=1) for name in COLUMNS}
    return _first(both, one["values"].shape[1])


def _first(entries: State, count: int) -> State:
    """The first so many entries of each row in the table's order."""
    places = (entries["images"].clamp(max=_MOST_IMAGES) << _POSITION_BITS) | entries["positions"]
    by_place = places.argsort(dim=1)
    values = entries["values"].gather(1, by_place)
    # Stable, so that what is equal stays in the order of images and positions.
    by_node = torch.sort(values, dim=1, descending=True, stable=True).indices[:, :count]
    order = by_place.gather(1, by_node)
    return {name: column.gather(1, order) for name, column in entries.items()}
