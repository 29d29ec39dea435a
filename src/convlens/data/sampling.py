"""Choosing a few of many items."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` items, evenly spread over all, the first among them.

    A folder that is sorted by class is then seen from one end to the other.

    Example:
        >>> spread(range(10), 4)
        [0, 2, 5, 7]
    """
    count = min(len(items), most)
    return [items[index * len(items) // count] for index in range(count)]
