"""Shift: how much of the equivariance and invariance of convolution and pooling a network keeps.

Equivariance layer by layer, consistency of the prediction, and for one photo the probability at
every offset (Bishop & Bishop, sections 10.2.2 and 10.2.5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convlens.analyses.shift.consistency import PROTOCOLS, Consistency, ConsistencyReducer
from convlens.analyses.shift.equivariance import Equivariance, summarize_errors
from convlens.analyses.shift.error_histogram import BIN_COUNT, add_errors, median_errors
from convlens.analyses.shift.map_comparison import compare_maps
from convlens.analyses.shift.offset_map import OffsetMap
from convlens.analyses.shift.shifted_layers import Offset, ShiftedLayer, find_shifted_layers
from convlens.analyses.shift.views import crop_center, pad_squashed
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.passes.proportion import Proportion
from convlens.passes.reducer import State
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.tracing.tracer import trace as trace_network

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Shift(NetworkResult):
    """What shifts change in a network.

    Attributes:
        model: the name of the model.
        images: the number of images.
        skipped: the images that could not be read, with the reason.
        equivariance: equivariance of every convolution and pooling; errors are medians over the
            images, accurate to 4 %. None if it was left out.
        accuracy: the share of labeled images whose center crop is predicted correctly; None
            without labels.
        consistency: consistency of the prediction, by crops and by circular shifts; images in
            memory leave no room for crops.
        offsets: the probability at every offset of the first photo; None if it was left out.
        seed: seed of the offsets of the consistency.
    """

    model: str
    images: int
    skipped: tuple[str, ...]
    equivariance: Equivariance | None
    accuracy: Proportion | None
    consistency: tuple[Consistency, ...]
    offsets: OffsetMap | None
    seed: int

    def summary(self) -> str:
        """How often shifted views agree, and where equivariance is lost, in words."""
        words = [protocol.summary() for protocol in self.consistency]
        if self.equivariance is not None:
            words.append(self.equivariance.summary())
        return f"{self.model}: {'; '.join(words)}" if words else f"{self.model}: nothing measured"

    def table(self) -> Table:
        """The share of images whose two views agree, in both protocols."""
        return Table.of(
            ["protocol", "same prediction", "of those predicted correctly"],
            [
                [
                    protocol.protocol,
                    protocol.agreement.summary(),
                    ""
                    if protocol.agreement_if_correct is None
                    else protocol.agreement_if_correct.summary(),
                ]
                for protocol in self.consistency
            ],
        )

    def figure(self) -> "Figure":
        """The equivariance of the layers; without it the map over all offsets.

        Raises:
            ConvlensError: both were left out.
        """
        if self.equivariance is not None:
            return self.equivariance.figure()
        if self.offsets is not None:
            return self.offsets.figure()
        raise ConvlensError("equivariance and offsets were left out, so there is nothing to draw")

    def pictures(self) -> dict[str, Tensor]:
        """The map over all offsets."""
        return self.offsets.pictures() if self.offsets else {}


@dataclass(frozen=True)
class ShiftReducer:
    """Counts equal predictions of shifted views, and bins the errors of the layers.

    Attributes:
        model: the model; left untouched.
        consistency: counts the predictions.
        layers: the layers that are compared, or none.
        shifts: shifts of the image for these layers.
    """

    model: Model
    consistency: ConsistencyReducer
    layers: tuple[ShiftedLayer, ...]
    shifts: tuple[Offset, ...]

    @classmethod
    def for_model(
        cls,
        model: Model,
        labels: PhotoLabels | None,
        largest_offset: int,
        seed: int,
        shifts: tuple[Offset, ...],
    ) -> "ShiftReducer":
        """The reducer for a model; without shifts the layers are left out."""
        layers = find_shifted_layers(trace_network(model)) if shifts else ()
        consistency = ConsistencyReducer(model, model.size, labels, largest_offset, seed)
        return cls(model, consistency, layers, shifts)

    def __reduce__(self) -> tuple[Any, ...]:
        # A trace holds functions of torch, which pickle cannot send: it is recorded again there.
        consistency = self.consistency
        return ShiftReducer.for_model, (
            self.model, consistency.labels, consistency.largest_offset, consistency.seed,
            self.shifts,
        )  # fmt: skip

    def initial_state(self) -> State:
        """The counts of no images."""
        shape = (2, len(self.shifts), len(self.layers), BIN_COUNT)
        return self.consistency.initial_state() | {"errors": torch.zeros(shape, dtype=torch.int64)}

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The counts of both sets of images together."""
        return {name: state_a[name] + state_b[name] for name in state_a}

    def process_batch(self, state: State, wide: Tensor, ids: Tensor) -> None:
        """Add a batch of wide images to the counts."""
        self.consistency.process_batch(state, wide, ids)
        if not self.layers:
            return
        wide = pad_squashed(self.model, wide.to(self.model.device))
        images = crop_center(wide, self.consistency.size)
        trace = trace_network(self.model, images)
        for errors in compare_maps(self.model, trace, self.layers, images, self.shifts):
            add_errors(state["errors"], errors)

    def result(
        self,
        state: Mapping[str, Tensor],
        skipped: tuple[str, ...],
        offsets: OffsetMap | None,
    ) -> Shift:
        """Make the result from the counts of a pass."""
        images = int(state["images"])
        equivariance = None
        if self.layers:
            equivariance = summarize_errors(
                self.model,
                trace_network(self.model),
                self.layers,
                self.shifts,
                median_errors(state["errors"]),
                images,
            )
        protocols = [self.consistency.result(state, protocol) for protocol in PROTOCOLS]
        return Shift(
            model=self.model.name,
            images=images,
            skipped=skipped,
            equivariance=equivariance,
            accuracy=self.consistency.accuracy(state),
            consistency=tuple(protocol for protocol in protocols if protocol is not None),
            offsets=offsets,
            seed=self.consistency.seed,
        )
