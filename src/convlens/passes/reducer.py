"""The contract of a reducer: what is kept of the values at some nodes while images pass by.

A reducer's state is a mapping of tensors whose size does not grow with the data. Updates and
merges give the same state in any order and grouping: they count in integers, use fixed bins, and
break ties by the number of the image. This is why a pass can be split, resumed and distributed.
"""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

from convlens.tracing.tiles import ImageTile

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


class ImageInTiles(Protocol):
    """What a reducer keeps of the maps of one large image at one node, tile by tile."""

    def add(self, tile: ImageTile, units: Tensor) -> None:
        """Add the units of a tile.

        Args:
            tile: where they lie in the map of the whole image.
            units: `(1, C, h, w)`. It may not be kept.
        """


Image = TypeVar("Image", bound=ImageInTiles)


@runtime_checkable
class TiledReducer(Protocol[Image]):
    """A reducer that can also read the maps of an image in tiles."""

    def begin_image(self, node: int, map_size: tuple[int, int]) -> Image:
        """Begin an image that is shown in tiles.

        Args:
            node: the index of the node.
            map_size: rows and columns of its map of the whole image.
        """

    def update_from_tiles(self, state: State, node: int, image: Image, ids: Tensor) -> None:
        """Update the state in place when all tiles of an image have been added.

        Args:
            state: as for `Reducer.update`.
            node: the index of the node.
            image: from `begin_image`.
            ids: int64 `(1,)`, the number of the image in the data set.
        """
