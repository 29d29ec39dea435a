"""Reducers: what is kept of a data set while it goes by.

A reducer's state is a mapping of tensors that does not grow with the data. Updates and merges may
come in any order and grouping and give the same state: integers, fixed bins, tables with ties
broken by the image's number. That is what lets a sweep be split, resumed and distributed.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

State = dict[str, Tensor]


class Reducer(Protocol):
    """Reduces the tensors at several nodes of a trace, batch by batch.

    Attributes:
        nodes: the nodes, by their indices in the trace.
    """

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes, by their indices in the trace."""

    def start(self) -> State:
        """The state of no data."""

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        """Take in, in place, what one place gave for a batch.

        Args:
            state: of `start`, `update` or `merge`.
            node: index of the node.
            maps: what the network computed there, first dimension N; read at once, not kept.
            ids: int64 `(N,)`, the number of each image in the data set.
        """

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """The state of both data sets together; no image may be in both."""
