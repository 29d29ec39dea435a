"""A table of the photos with the greatest keys, of a size that does not grow with the data.

Ties between equal keys are broken by the number of the photo, the smaller first. The table is
therefore the same in whatever order and grouping the photos come.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from convlens.passes.reducer import State

NO_PHOTO = torch.iinfo(torch.int64).max  # number of the photo of an entry that is still free
COLUMNS = (
    "key", "photo", "label", "prediction", "confidence", "label_probability", "label_rank",
)  # fmt: skip
_REALS = {"confidence", "label_probability"}
# `photo`: number in the data set. `label` and `prediction`: columns, see `right_classes`.
# `label_rank`: how many classes have a higher score than the right one.


def empty_table(size: int) -> State:
    """A table of free entries: a tensor `(size,)` for each of `COLUMNS`."""
    table = {
        name: torch.zeros(size, dtype=torch.float64 if name in _REALS else torch.int64)
        for name in COLUMNS
    }
    table["key"].fill_(-1)
    table["photo"].fill_(NO_PHOTO)
    return table


def insert(table: State, photos: Mapping[str, Tensor]) -> None:
    """Enter the photos whose keys are among the greatest, in place.

    Args:
        table: from `empty_table`.
        photos: a tensor `(E,)` for each of `COLUMNS`; keys are not negative.
    """
    if len(photos["key"]):
        table.update(merge(table, photos))


def merge(table_a: Mapping[str, Tensor], table_b: Mapping[str, Tensor]) -> State:
    """The entries of two tables with the greatest keys, as many as the first one holds."""
    joined = {name: torch.cat([table_a[name], table_b[name]]) for name in COLUMNS}
    by_photo = joined["photo"].argsort(stable=True)
    by_key = joined["key"][by_photo].argsort(descending=True, stable=True)
    order = by_photo[by_key][: len(table_a["key"])]
    return {name: column[order] for name, column in joined.items()}


def filled_entries(table: Mapping[str, Tensor]) -> State:
    """The entries that hold a photo, in the order of the table."""
    is_filled = table["photo"] != NO_PHOTO
    return {name: table[name][is_filled] for name in COLUMNS}
