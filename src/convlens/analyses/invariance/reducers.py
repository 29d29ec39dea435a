"""The reducers of an invariance measurement: totals over all images, and variants of the best."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.invariance.variants import VARIANTS, make_variants
from convlens.analyses.patches.selectivity import ClassMeanActivations
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.capture.nodes import stream_nodes
from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.tracing.selection import ChannelSource
from convlens.tracing.tracer import trace as trace_network

FIXED_POINT = 2**20  # activations are summed as whole numbers of this fraction


@dataclass(frozen=True)
class ActivationTotals:
    """Sums of each channel's greatest activations, overall and, with labels, by class.

    Further columns of the tables of `TopPatchesReducer`.
    """

    channel_source: ChannelSource
    class_means: ClassMeanActivations | None

    def initial_state(self, node: int) -> State:
        """Sums of no images."""
        totals = {"total": torch.zeros(self.channel_source.channels, dtype=torch.int64)}
        return totals | (self.class_means.initial_state(node) if self.class_means else {})

    def add(self, table: State, peaks: Tensor, ids: Tensor) -> None:
        """Add the greatest activations `(N, C)` of a batch, in place."""
        table["total"] += (peaks.clamp(min=0).double() * FIXED_POINT).round().long().sum(dim=0)
        if self.class_means:
            self.class_means.add(table, peaks, ids)

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The sums of both sets of images together."""
        merged = {"total": state_a["total"] + state_b["total"]}
        return merged | (self.class_means.merge(state_a, state_b) if self.class_means else {})


@dataclass(frozen=True)
class VariantReducer:
    """Sums each channel's greatest activations on all variants of the images that activate it most.

    Attributes:
        model: the model; left untouched.
        channel_source: the channels.
        top_images: int64 `(C, K)`, the numbers of the images that activate each channel most;
            numbers of no image where there are fewer.
    """

    model: Model
    channel_source: ChannelSource
    top_images: Tensor

    def initial_state(self) -> State:
        """Sums of no images."""
        return {"activations": torch.zeros(len(self.top_images), VARIANTS, dtype=torch.int64)}

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The sums of both sets of images together."""
        return {"activations": state_a["activations"] + state_b["activations"]}

    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Run the variants of each image of a batch that some channel needs."""
        for image, number in zip(images.to(self.model.device), ids.tolist(), strict=True):
            channels = (self.top_images == number).any(dim=1)
            if not bool(channels.any()):
                continue
            peaks = self._peak_activations(make_variants(image, self.model.bounds))
            fixed = (peaks.T.clamp(min=0).double() * FIXED_POINT).round().long()
            state["activations"] += fixed * channels[:, None]

    def _peak_activations(self, variants: Tensor) -> Tensor:
        """The greatest activation of each channel on each variant, `(V, C)`."""
        trace = trace_network(self.model, variants)
        peaks: list[Tensor] = []

        def add(node: int, maps: Tensor) -> None:
            peaks.append(spatial_max(trace.channels_first(node, maps))[0].float().cpu())

        stream_nodes(self.model, trace, variants, [self.channel_source.node], add)
        return peaks[0]
