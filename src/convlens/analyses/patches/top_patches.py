"""Excitation: for every channel the patches that excite it most, and how it fires altogether.

The greatest activation of each channel in each image is taken, wherever it is (Bishop & Bishop,
section 10.3: patches with the strongest activation).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from convlens.analyses.patches import activation_statistics, top_k
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.errors import ConvlensError
from convlens.passes.reducer import State
from convlens.tracing.selection import ChannelSource


class ExtraColumns(Protocol):
    """Further columns of the tables, filled from the same greatest activations."""

    def initial_state(self, node: int) -> State:
        """The columns of a node, empty."""

    def add(self, table: State, peaks: Tensor, ids: Tensor) -> None:
        """Take in the greatest activations `(N, C)` of a batch, in place."""

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """The columns of both data sets together."""


class TopPatchesReducer:
    """The reducer: the strongest activations and the statistics of every channel watched."""

    def __init__(
        self,
        channel_sources: Sequence[ChannelSource],
        *,
        top: int = 9,
        each: int = 1,
        statistics: bool = True,
        seed: int = 0,
        extra_columns: "ExtraColumns | None" = None,
    ) -> None:
        """Say what to keep.

        Args:
            channel_sources: from `find_channel_sources`, for images of the size that will come.
            top: entries a channel.
            each: at most so many of one image.
            statistics: also count, bin and sample.
            seed: of the samples.
            extra_columns: keeps further columns of each node, from the greatest activations.
        """
        if top < 1 or each < 1:
            raise ConvlensError(f"top {top}, {each} for each image; give at least 1")
        self._channel_sources = {one.node: one for one in channel_sources}
        self._top, self._each = top, each
        self._statistics, self._seed, self._extra_columns = statistics, seed, extra_columns
        self._scratch: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes, by number in the trace."""
        return tuple(self._channel_sources)

    def initial_state(self) -> State:
        """Empty tables."""
        state: State = {}
        for node, channel_source in self._channel_sources.items():
            state |= _named(node, top_k.empty(channel_source.channels, self._top))
            if self._statistics:
                state |= _named(node, activation_statistics.empty(channel_source.channels))
            if self._extra_columns:
                state |= _named(node, self._extra_columns.initial_state(node))
        return state

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        """Take in one place's maps of a batch, in place."""
        maps = self._channel_sources[node].channels_first(maps)
        found, positions = spatial_max(maps)
        greatest = found.float().cpu()
        if not bool(greatest.isfinite().all()):
            raise ConvlensError(
                f"{self._channel_sources[node].node_name} gives NaN or infinity for image "
                f"{int(ids[(~greatest.isfinite()).any(dim=1)][0])}; nothing can be ranked there"
            )
        table = _of(state, node)
        if self._each == 1:
            top_k.insert(table, greatest, ids, positions)
        else:
            self._insert_several(table, maps, ids)
        if self._statistics:
            fired = self._fired(maps, rectified=self._channel_sources[node].rectified)
            activation_statistics.add(table, fired, greatest, ids, positions, self._seed)
        if self._extra_columns:
            self._extra_columns.add(table, greatest, ids)
        state |= _named(node, table)

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """The tables of both data sets together."""
        state: State = {}
        for node in self._channel_sources:
            a, b = _of(one, node), _of(other, node)
            state |= _named(node, top_k.merge(a, b))
            if self._statistics:
                state |= _named(node, activation_statistics.merge(a, b))
            if self._extra_columns:
                state |= _named(node, self._extra_columns.merge(a, b))
        return state

    def table(self, state: Mapping[str, Tensor], node: int) -> State:
        """The part of a state that is one node's."""
        return _of(state, node)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_scratch": {}}

    def _fired(self, maps: Tensor, *, rectified: bool) -> Tensor:
        """At how many positions each channel is above 0: `(N, C)`, on the CPU.

        A sum of signs: exact below 2^24 positions, and many times quicker than one of bools.
        """
        signs = self._like(maps)
        if rectified:
            torch.sign(maps, out=signs)
        else:
            torch.clamp(maps, min=0, out=signs).sign_()
        return signs.sum(dim=(2, 3), dtype=torch.float32).cpu()

    def _like(self, maps: Tensor) -> Tensor:
        """Memory laid out as the maps are, used again and again, since fresh memory is slow."""
        kind = (maps.dtype, maps.device)
        if kind not in self._scratch or self._scratch[kind].numel() < maps.numel():
            self._scratch[kind] = torch.empty(maps.numel(), dtype=maps.dtype, device=maps.device)
        dense = torch.empty_like(maps, device="meta").stride()
        return self._scratch[kind][: maps.numel()].as_strided(maps.shape, dense)

    def _insert_several(self, table: State, maps: Tensor, ids: Tensor) -> None:
        flat = maps.flatten(2)
        count = min(self._each, flat.shape[2])
        # Stable, so that of equal values the first positions are taken, as everywhere.
        values, where = flat.sort(dim=2, descending=True, stable=True)
        entries = values[..., :count].movedim(2, 1).flatten(0, 1).float().cpu()
        positions = where[..., :count].movedim(2, 1).flatten(0, 1).cpu()
        top_k.insert(table, entries, ids.repeat_interleave(count), positions)


def _named(node: int, table: Mapping[str, Tensor]) -> State:
    return {f"{node}/{name}": tensor for name, tensor in table.items()}


def _of(state: Mapping[str, Tensor], node: int) -> State:
    prefix = f"{node}/"
    return {
        name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)
    }
