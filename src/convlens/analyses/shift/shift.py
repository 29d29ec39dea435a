"""Shift: how much of the equivariance and invariance that convolution and pooling promise is kept.

Equivariance layer by layer, consistency of the answer, and for one photo the probability at every
offset (Bishop & Bishop, sections 10.2.2 and 10.2.5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convlens.analyses.shift.consistency import Consistency, Offsets, Pairs, Rate, around
from convlens.analyses.shift.equivariance import (
    Equivariance,
    Offset,
    ShiftedLayer,
    compare,
    shifted_layers,
    told,
)
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.results import Result
from convlens.tracing.trace import trace

_OCTAVES = (-30, 6)  # of errors that are told apart
_EACH = 16  # bins an octave, each 4 % wide
_EDGES = 2.0 ** (torch.arange(_OCTAVES[0] * _EACH, _OCTAVES[1] * _EACH + 1).double() / _EACH)
_BINS = len(_EDGES) + 1
_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class Shift(Result):
    """What shifts do to a network.

    Attributes:
        model: its name.
        images: how many were taken in.
        skipped: those that could not be read, with the reason.
        equivariance: of every convolution and pooling; errors are medians over the images, right
            to 4 % where many were taken in. None where it was left out.
        right: images whose center crop is answered right, of those with a label; None without.
        consistency: of the answer, crop and circular; images in memory leave no room for crops.
        offsets: probability at every offset, of the first photo; None where it was left out.
        seed: of the offsets that were drawn.
    """

    model: str
    images: int
    skipped: tuple[str, ...]
    equivariance: Equivariance | None
    right: Rate | None
    consistency: tuple[Consistency, ...]
    offsets: Offsets | None
    seed: int

    def pictures(self) -> dict[str, Tensor]:
        """The map over all offsets."""
        return self.offsets.pictures() if self.offsets else {}


@dataclass(frozen=True)
class Shifts:
    """What is done with each batch of wide images: pairs of views, and errors layer by layer.

    Attributes:
        model: left untouched.
        pairs: counts answers.
        layers: that are compared, or none.
        shifts: of the image, for these.
    """

    model: Model
    pairs: Pairs
    layers: tuple[ShiftedLayer, ...]
    shifts: tuple[Offset, ...]

    @classmethod
    def of(
        cls,
        model: Model,
        labels: PhotoLabels | None,
        most: int,
        seed: int,
        shifts: tuple[Offset, ...],
    ) -> "Shifts":
        """For a model and shifts; none leaves the layers out."""
        layers = shifted_layers(trace(model)) if shifts else ()
        return cls(model, Pairs(model, model.size, labels, most, seed), layers, shifts)

    def __reduce__(self) -> tuple[Any, ...]:
        # What was traced holds torch's own functions and stays where it is: it is traced again.
        pairs = self.pairs
        return Shifts.of, (self.model, pairs.labels, pairs.most, pairs.seed, self.shifts)

    def initial_state(self) -> State:
        """Nothing seen yet."""
        bins = torch.zeros(2, len(self.shifts), len(self.layers), _BINS, dtype=torch.int64)
        return self.pairs.initial_state() | {"errors": bins}

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Both data sets together."""
        return {name: one[name] + other[name] for name in one}

    def process_batch(self, state: State, wide: Tensor, ids: Tensor) -> None:
        """Take in a batch of wide images, in place."""
        self.pairs.process_batch(state, wide, ids)
        if not self.layers:
            return
        images = self.pairs.centers(around(self.model, wide.to(self.model.device)))
        found = trace(self.model, images)
        for part in images.split(_AT_ONCE):
            for errors in compare(self.model, found, self.layers, part, self.shifts):
                bins = torch.bucketize(errors.double(), _EDGES)
                seen = (~errors.isnan()).long()
                state["errors"].scatter_add_(
                    3, bins[..., None].clamp(max=_BINS - 1), seen[..., None]
                )

    def result(
        self,
        state: Mapping[str, Tensor],
        skipped: tuple[str, ...],
        offsets: Offsets | None,
    ) -> Shift:
        """What was counted."""
        images, labeled = int(state["images"]), int(state["labeled"])
        layers = None
        if self.layers:
            found = trace(self.model)
            errors = middles(state["errors"])
            layers = told(self.model, found, self.layers, self.shifts, errors, images)
        told_of = [self.pairs.result(state, protocol) for protocol in ("crop", "circular")]
        return Shift(
            model=self.model.name,
            images=images,
            skipped=skipped,
            equivariance=layers,
            right=Rate.of(int(state["right"]), labeled) if labeled else None,
            consistency=tuple(one for one in told_of if one is not None),
            offsets=offsets,
            seed=self.pairs.seed,
        )


def middles(bins: Tensor) -> Tensor:
    """Medians of errors from their bins `(..., BINS)`; NaN where there are none."""
    total = bins.sum(dim=-1)
    at = torch.searchsorted(bins.cumsum(dim=-1), ((total + 1) // 2)[..., None])[..., 0]
    between = (_EDGES[:-1] * _EDGES[1:]).sqrt()
    values = torch.cat([torch.zeros(1).double(), between, _EDGES[-1:]])
    return torch.where(total > 0, values[at.clamp(max=_BINS - 1)], torch.nan)
