"""Budgets: how many items, bytes and multiply-adds a part of the page may take.

Work is counted in multiply-adds, never in seconds, so that the same input gives the same page on
a busy machine too. Two cores run 1e10 to 6e10 multiply-adds a second, by the kind of network.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """The most that a part of the page may take.

    Attributes:
        items: photos, layers or filters.
        bytes: number of bytes of its pictures in the page.
        work: multiply-adds of all items together.
    """

    items: int
    bytes: int = 0
    work: float = 2.4e13

    def affordable(self, each: float) -> int:
        """How many items fit into the budget, at least 1.

        Args:
            each: multiply-adds of one item.

        Example:
            >>> Budget(items=8, work=100.0).affordable(20.0)
            5
        """
        return max(1, min(self.items, int(self.work / max(each, 1.0))))


READ = Budget(items=256)  # photos that are read and classified
SHOWN = Budget(items=24, work=7.2e13)  # photos that are shown in full
SHOWN_PASSES = 100  # forward passes that one of these takes in all sections together, about
CLASSES = 8  # classes that are explained for each photo
