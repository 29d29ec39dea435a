"""The contract of a reducer: what is kept of the values at some nodes while images pass by.

A reducer's state is a mapping of tensors whose size does not grow with the data. Updates and
merges give the same state in any order and grouping: they count in integers, use fixed bins, and
break ties by the number of the image. This is why a pass can be split, resumed and distributed.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

State = dict[str, Tensor]


class Reducer(Protocol):
    """Reduces the values at several nodes of a trace, batch by batch.

    Attributes:
        nodes: the indices of the nodes in the trace.
    """

    @property
    def nodes(self) -> tuple[int, ...]:
        """The indices of the nodes in the trace."""

    def initial_state(self) -> State:
        """The state of no images."""

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        """Update the state in place with the values at one node for a batch.

        Args:
            state: from `initial_state`, `update` or `merge`.
            node: the index of the node.
            maps: what the network computed there, first dimension N. It may not be kept: the
                network goes on to use its memory.
            ids: int64 `(N,)`, the number of each image in the data set.
        """

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The state of two sets of images together; no image may be in both."""
