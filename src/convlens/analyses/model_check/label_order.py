"""Whether the labels of photos number the classes in another order than the network does.

Publicly reported mistakes are tried: a background class that shifts all indices by one, classes in
alphabetical order, indices that were sorted as text, and the reverse order, each for the labels and
for the network. Classes that are exchanged with each other are found from the predictions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convlens.analyses.model_check.result import BROKEN, CANNOT_TELL, FINE, CheckFinding
from convlens.models.labels import class_name
from convlens.passes.mcnemar import mcnemar_p_value
from convlens.wording import counted, enumerated, percent

LABEL_ORDER = "label order"  # name of the finding
_SIGNIFICANCE = 0.01  # of McNemar's exact test, divided by the number of orders
_LEAST_GAIN = 0.1  # of the accuracy


@dataclass(frozen=True)
class LabelOrder:
    """Another order of the classes.

    Attributes:
        words: the order in words, which follow "with".
        classes: int64 `(K,)`, for each label the class of the network that its photos would show.
    """

    words: str
    classes: Tensor


def check_label_order(counts: Tensor, names: Sequence[str] | None) -> CheckFinding:
    """Compare the accuracy with the labels as given with that in other orders of the classes.

    Args:
        counts: int64 `(K, K)`, photos by label (rows) and prediction (columns).
        names: names of the classes by index, or None.
    """
    total, right = int(counts.sum()), int(counts.diag().sum())
    orders = _list_orders(len(counts), names)
    tests = len(orders) + 1  # with the exchange of classes
    better = find_better_order(counts, names)
    if better is not None:
        accuracy, corrected = (
            share / total for share in (right, right + _gain(counts, better.classes, tests))
        )
        return CheckFinding(
            LABEL_ORDER, BROKEN,
            f"with {better.words}, {percent(corrected)} of {total:,} photos are right instead of "
            f"{percent(accuracy)}",
            accuracy, corrected,
        )  # fmt: skip
    needed = _photos_needed(tests)
    if total < needed:
        return CheckFinding(
            LABEL_ORDER, CANNOT_TELL, f"{total} photos are too few to tell; give at least {needed}"
        )
    return CheckFinding(
        LABEL_ORDER, FINE,
        f"none of {counted(len(orders), 'other order')} of the classes does better, and no "
        f"exchanged classes are found",
    )  # fmt: skip


def find_better_order(counts: Tensor, names: Sequence[str] | None) -> LabelOrder | None:
    """The order of the classes in which most more photos are right, or None.

    Args:
        counts: as `check_label_order`.
        names: names of the classes by index, or None.
    """
    orders = _list_orders(len(counts), names)
    tests = len(orders) + 1  # with the exchange of classes
    better, gain = None, 0
    for order in orders:
        own_gain = _gain(counts, order.classes, tests)
        if own_gain > gain and own_gain >= _LEAST_GAIN * int(counts.sum()):
            better, gain = order, own_gain
    exchange = _find_exchange(counts, names, tests)
    if exchange is not None and _gain(counts, exchange.classes, tests) > gain:
        better = exchange
    return better


def _gain(counts: Tensor, order: Tensor, tests: int) -> int:
    """How many more photos are right in another order; 0 if this may be by chance.

    Args:
        counts: as `check_label_order`.
        order: for each label the class that its photos would show.
        tests: number of orders that are tried.
    """
    gained, lost, _ = _count_moved(counts, order)
    return gained - lost if _is_significant(gained, lost, tests) else 0


def _count_moved(counts: Tensor, order: Tensor) -> tuple[int, int, int]:
    """Photos that another order makes right and wrong, and all whose class it changes."""
    labels = torch.arange(len(counts))
    moved = order != labels
    gained = int(counts[labels, order][moved].sum())
    return gained, int(counts.diag()[moved].sum()), int(counts[moved].sum())


def _is_significant(gained: int, lost: int, tests: int) -> bool:
    """McNemar's exact test, one-sided, corrected for the number of tests."""
    return mcnemar_p_value(lost, gained, "greater") * tests < _SIGNIFICANCE


def _list_orders(size: int, names: Sequence[str] | None) -> list[LabelOrder]:
    """The orders that mistakes give, each once and none as the labels are."""
    orders: list[LabelOrder] = []
    for order in _reported_orders(size, names):
        tried = [torch.arange(size), *(earlier.classes for earlier in orders)]
        if not any(torch.equal(order.classes, classes) for classes in tried):
            orders.append(order)
    return orders


def _reported_orders(size: int, names: Sequence[str] | None) -> Iterator[LabelOrder]:
    labels = torch.arange(size)
    if size == 2:
        yield LabelOrder("the two classes exchanged", labels.flip(0))
    yield LabelOrder("labels that are one too high (a background class)", (labels - 1) % size)
    yield LabelOrder("labels that are one too low (a background class)", (labels + 1) % size)
    yield LabelOrder("labels in the reverse order", labels.flip(0))
    as_text = torch.tensor(sorted(range(size), key=str), dtype=torch.int64)
    yield LabelOrder("labels sorted as text (0, 1, 10, …)", as_text)
    yield LabelOrder("classes that the network sorts as text (0, 1, 10, …)", as_text.argsort())
    if names is None or len(names) != size:
        return
    for capitals_first, words in ((False, ""), (True, ", capital letters first")):
        order = sorted(
            range(size), key=lambda k: names[k] if capitals_first else names[k].casefold()
        )
        by_name = torch.tensor(order, dtype=torch.int64)
        yield LabelOrder(f"labels in the alphabetical order of the classes{words}", by_name)
        yield LabelOrder(f"classes that the network sorts by their names{words}", by_name.argsort())


def _find_exchange(counts: Tensor, names: Sequence[str] | None, tests: int) -> LabelOrder | None:
    """Classes that are exchanged: most photos of each are predicted as the next one in a circle.

    What one random half of the photos proposes is tested on the other half, and the reverse, so
    that the best of many possible orders is not found by chance. Each circle is tested by itself:
    it has to make right most of the photos whose classes it changes.
    """
    half = torch.from_numpy(np.random.default_rng(0).binomial(counts.numpy(), 0.5))
    halves = [
        (_propose_circles(proposing), testing)
        for proposing, testing in ((half, counts - half), (counts - half, half))
    ]
    proposed = _propose_circles(counts)
    circles = []
    for circle in proposed:
        order = _apply_circles([circle], len(counts))
        tested = [
            _count_moved(testing, order) for proposals, testing in halves if circle in proposals
        ]
        gained, lost, photos = (sum(numbers[column] for numbers in tested) for column in range(3))
        if _is_significant(gained, lost, tests * len(proposed)) and 2 * (gained - lost) > photos:
            circles.append(circle)
    if not circles:
        return None
    return LabelOrder(_describe_circles(circles, names), _apply_circles(circles, len(counts)))


def _propose_circles(counts: Tensor) -> list[tuple[int, ...]]:
    """Circles of labels of each of which most photos are predicted as the next one."""
    order = list(range(len(counts)))
    most, predicted = counts.max(dim=1)
    for label in (2 * most > counts.sum(dim=1)).nonzero().flatten().tolist():
        order[label] = int(predicted[label])
    return _closed_circles(order)


def _apply_circles(circles: Sequence[Sequence[int]], size: int) -> Tensor:
    """For each label the class that its photos show if the circles are exchanged, int64 `(K,)`."""
    order = torch.arange(size)
    for circle in circles:
        order[list(circle)] = torch.tensor([*circle[1:], circle[0]], dtype=torch.int64)
    return order


def _describe_circles(circles: Sequence[Sequence[int]], names: Sequence[str] | None) -> str:
    called = [[class_name(names, label) for label in circle] for circle in circles]
    pairs = [f"{circle[0]} and {circle[1]}" for circle in called if len(circle) == 2]
    if len(pairs) == len(circles):
        return f"{enumerated(pairs, 3)} exchanged"
    moves = [
        f"{name} is {circle[(place + 1) % len(circle)]}"
        for circle in called
        for place, name in enumerate(circle)
    ]
    return f"{counted(len(moves), 'label')} in another order ({enumerated(moves, 3)})"


def _closed_circles(order: Sequence[int]) -> list[tuple[int, ...]]:
    """The circles of a map of labels, of at least two, each from its smallest label on."""
    circles = []
    for start in range(len(order)):
        circle, label = [start], order[start]
        while label > start and label not in circle:
            circle.append(label)
            label = order[label]
        if label == start and len(circle) > 1:
            circles.append(tuple(circle))
    return circles


def _photos_needed(tests: int) -> int:
    """The photos for which even a gain without a loss becomes significant."""
    count = 1
    while 0.5**count * tests >= _SIGNIFICANCE:
        count += 1
    return count
