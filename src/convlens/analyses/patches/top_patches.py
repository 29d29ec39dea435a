"""The reducer of `patches`: for every channel the strongest activations and their statistics.

For each channel the greatest activation in each image counts, at whatever position (Bishop &
Bishop, Deep Learning, section 10.3: patches with the strongest activation).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from convlens.analyses.patches import activation_statistics, top_k
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.analyses.patches.tile_maxima import TileMaxima
from convlens.errors import ConvlensError
from convlens.passes.reducer import State
from convlens.tracing.selection import ChannelSource


class ExtraColumns(Protocol):
    """Further columns of a node's table, computed from the same greatest activations."""

    def initial_state(self, node: int) -> State:
        """The columns of a node without data."""

    def add(self, table: State, maxima: Tensor, ids: Tensor) -> None:
        """Add the greatest activations `(N, C)` of a batch, in place."""

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The columns of both data sets together."""


class TopPatchesReducer:
    """Keeps the strongest activations and the statistics of every channel of several nodes."""

    def __init__(
        self,
        channel_sources: Sequence[ChannelSource],
        *,
        top: int = 9,
        per_image: int = 1,
        statistics: bool = True,
        seed: int = 0,
        extra_columns: ExtraColumns | None = None,
    ) -> None:
        """Choose what the reducer keeps.

        Args:
            channel_sources: from `find_channel_sources`, for images of the size of the data set.
            top: number of activations of each channel; default: 9.
            per_image: greatest number of activations of one image; default: 1.
            statistics: also keep counts, a histogram and samples; default: True.
            seed: seed of the samples; default: 0.
            extra_columns: further columns of each node's table; default: none.

        Raises:
            ConvlensError: `top` or `per_image` is below 1.
        """
        if top < 1 or per_image < 1:
            raise ConvlensError(f"top {top}, per_image {per_image}; give at least 1 of each")
        self._channel_sources = {source.node: source for source in channel_sources}
        self._top, self._per_image = top, per_image
        self._statistics, self._seed, self._extra_columns = statistics, seed, extra_columns
        self._scratch: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes, by number in the trace."""
        return tuple(self._channel_sources)

    def initial_state(self) -> State:
        """Empty tables."""
        state: State = {}
        for node, source in self._channel_sources.items():
            state |= _add_prefix(node, top_k.empty_table(source.channels, self._top))
            if self._statistics:
                statistics = activation_statistics.empty_statistics(source.channels)
                state |= _add_prefix(node, statistics)
            if self._extra_columns:
                state |= _add_prefix(node, self._extra_columns.initial_state(node))
        return state

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        """Add a batch of one node's maps, in place."""
        source = self._channel_sources[node]
        maps = source.channels_first(maps)
        greatest, find_positions = spatial_max(maps)
        maxima = greatest.float().cpu()
        _check_finite(source, maxima, ids)
        table = self.table(state, node)
        if self._per_image == 1:
            top_k.insert(table, maxima, ids, find_positions)
        else:
            self._insert_several(table, maps, ids)
        if self._statistics:
            fired = self._count_positive(maps, rectified=source.rectified)
            activation_statistics.add_batch(table, fired, maxima, ids, find_positions, self._seed)
        if self._extra_columns:
            self._extra_columns.add(table, maxima, ids)
        state |= _add_prefix(node, table)

    def begin_image(self, node: int, map_size: tuple[int, int]) -> TileMaxima:
        """Begin an image that is shown in tiles."""
        return TileMaxima(
            self._channel_sources[node].channels, width=map_size[1], most=self._per_image
        )

    def update_from_tiles(self, state: State, node: int, image: TileMaxima, ids: Tensor) -> None:
        """Add an image that was shown in tiles, in place."""
        maxima = image.values[:1]
        _check_finite(self._channel_sources[node], maxima, ids)
        table = self.table(state, node)
        top_k.insert(table, image.values, ids.expand(len(image.values)), image.positions)
        if self._statistics:
            activation_statistics.add_batch(
                table, image.fired, maxima, ids,
                lambda entries, channels: image.positions[entries, channels], self._seed,
            )  # fmt: skip
        if self._extra_columns:
            self._extra_columns.add(table, maxima, ids)
        state |= _add_prefix(node, table)

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The tables of both data sets together."""
        state: State = {}
        for node in self._channel_sources:
            tables = self.table(state_a, node), self.table(state_b, node)
            state |= _add_prefix(node, top_k.merge(*tables))
            if self._statistics:
                state |= _add_prefix(node, activation_statistics.merge(*tables))
            if self._extra_columns:
                state |= _add_prefix(node, self._extra_columns.merge(*tables))
        return state

    def table(self, state: Mapping[str, Tensor], node: int) -> State:
        """The part of a state that belongs to one node."""
        prefix = f"{node}/"
        return {
            name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_scratch": {}}

    def _count_positive(self, maps: Tensor, *, rectified: bool) -> Tensor:
        """Number of positions at which each channel is above 0, `(N, C)`, on the CPU.

        A sum of signs is exact below 2^24 positions and many times faster than one of bools.
        """
        signs = self._memory_like(maps)
        if rectified:
            torch.sign(maps, out=signs)
        else:
            torch.clamp(maps, min=0, out=signs).sign_()
        return signs.sum(dim=(2, 3), dtype=torch.float32).cpu()

    def _memory_like(self, maps: Tensor) -> Tensor:
        """Scratch memory in the layout of the maps, reused because fresh memory is slow."""
        kind = (maps.dtype, maps.device)
        if kind not in self._scratch or self._scratch[kind].numel() < maps.numel():
            self._scratch[kind] = torch.empty(maps.numel(), dtype=maps.dtype, device=maps.device)
        dense = torch.empty_like(maps, device="meta").stride()
        return self._scratch[kind][: maps.numel()].as_strided(maps.shape, dense)

    def _insert_several(self, table: State, maps: Tensor, ids: Tensor) -> None:
        """Enter the strongest positions of each map."""
        flat = maps.flatten(2)
        count = min(self._per_image, flat.shape[2])
        # The sort is stable: ties go to the first position.
        values, where = flat.sort(dim=2, descending=True, stable=True)
        activations = values[..., :count].movedim(2, 1).flatten(0, 1).float().cpu()
        positions = where[..., :count].movedim(2, 1).flatten(0, 1).cpu()
        top_k.insert(table, activations, ids.repeat_interleave(count), positions)


def _check_finite(source: ChannelSource, maxima: Tensor, ids: Tensor) -> None:
    if not bool(maxima.isfinite().all()):
        raise ConvlensError(
            f"{source.node_name} gives NaN or infinity for image "
            f"{int(ids[(~maxima.isfinite()).any(dim=1)][0])}; look for NaN in the "
            f"network's weights"
        )


def _add_prefix(node: int, table: Mapping[str, Tensor]) -> State:
    return {f"{node}/{name}": tensor for name, tensor in table.items()}
