"""Whether the labels of photos number the classes in another order than the network does.

Publicly reported mistakes are tried: a background class that shifts all indices by one, classes in
alphabetical order, indices that were sorted as text, and the reverse order.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from convlens.analyses.model_check.result import BROKEN, CANNOT_TELL, FINE, CheckFinding

LABEL_ORDER = "label order"  # name of the finding
_SIGNIFICANCE = 0.01  # of McNemar's exact test, divided by the number of orders
_LEAST_GAIN = 0.1  # of the accuracy


def check_label_order(counts: Tensor, names: Sequence[str] | None) -> CheckFinding:
    """Compare the accuracy with the labels as given with that in other orders of the classes.

    Args:
        counts: int64 `(K, K)`, photos by label (rows) and prediction (columns).
        names: names of the classes by index, or None.
    """
    from scipy.stats import binomtest  # takes a second to import

    total, size = int(counts.sum()), len(counts)
    own = counts.diag()
    orders = list(_orders(size, names))
    best: tuple[float, str, float] | None = None
    for words, order in orders:
        # `order[label]` is the class of the network that a photo with this label shows.
        shifted = counts[torch.arange(size), order]
        moved = order != torch.arange(size)
        gained, lost = int(shifted[moved].sum()), int(own[moved].sum())
        p_value = (
            float(binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue) * len(orders)
            if gained + lost
            else 1.0
        )
        gain = (gained - lost) / max(1, total)
        if p_value < _SIGNIFICANCE and gain >= _LEAST_GAIN and (best is None or gain > best[0]):
            best = gain, words, (int(own.sum()) + gained - lost) / total
    accuracy = int(own.sum()) / max(1, total)
    if best is not None:
        return CheckFinding(
            LABEL_ORDER, BROKEN,
            f"with {best[1]}, {best[2]:.0%} of {total:,} photos are right instead of "
            f"{accuracy:.0%}",
            accuracy, best[2],
        )  # fmt: skip
    needed = _photos_needed(len(orders))
    if total < needed:
        return CheckFinding(
            LABEL_ORDER, CANNOT_TELL, f"{total} photos do not decide; give at least {needed}"
        )
    return CheckFinding(
        LABEL_ORDER, FINE, f"none of {len(orders)} other orders of the classes does better"
    )


def _orders(size: int, names: Sequence[str] | None) -> Iterator[tuple[str, Tensor]]:
    """Other orders: in words, and for each label the class that its photos would show."""
    rows = torch.arange(size)
    yield "labels that are one too high (a background class)", (rows - 1) % size
    yield "labels that are one too low (a background class)", (rows + 1) % size
    yield "labels in the reverse order", rows.flip(0)
    if size > 10:
        yield (
            "labels sorted as text (0, 1, 10, …)",
            torch.tensor(sorted(range(size), key=str), dtype=torch.int64),
        )
    if names is not None and len(names) == size:
        by_name = sorted(range(size), key=lambda index: names[index].casefold())
        if by_name != list(range(size)):
            yield (
                "labels in the alphabetical order of the classes",
                torch.tensor(by_name, dtype=torch.int64),
            )


def _photos_needed(orders: int) -> int:
    """The photos for which even a gain without a loss becomes significant."""
    count = 1
    while 0.5**count * orders >= _SIGNIFICANCE:
        count += 1
    return count
