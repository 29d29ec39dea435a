"""The second pass of `patches` with labels: how well channels tell their class from the others."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from convlens.analyses.patches.selectivity import ClassMeanActivations, SelectivityReducer
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.passes.options import PassOptions
from convlens.passes.run import run_reducer
from convlens.passes.source import Source
from convlens.tracing.selection import ChannelSource
from convlens.tracing.trace import Trace


class ChannelSelectivity(NamedTuple):
    """The selectivity of the channels of one node.

    Attributes:
        preferred_class: int64 `(C,)`, the class with the greatest mean activation.
        areas: float32 `(C,)`, area under the ROC curve of telling this class from the others.
    """

    preferred_class: Tensor
    areas: Tensor


def compute_selectivity(
    model: Model,
    model_trace: Trace,
    channel_sources: Sequence[ChannelSource],
    source: Source,
    labels: PhotoLabels,
    means: ClassMeanActivations,
    state: Mapping[str, Tensor],
    pass_options: PassOptions,
) -> dict[int, ChannelSelectivity]:
    """Run the second pass, for the classes that channels prefer according to the first.

    Args:
        model: the model. It is left untouched.
        model_trace: its trace.
        channel_sources: the nodes whose channels are measured.
        source: the images of the first pass.
        labels: for each image its right classes, or None.
        means: the sums by class that the first pass has collected.
        state: the state of the first pass.
        pass_options: those of the first pass. This pass is saved in a subfolder of its resume
            folder; the first pass has checked that photos, labels and model are the same.

    Returns:
        The preferred classes and their areas, by node.
    """
    preferred = {
        channel_source.node: means.preferred_class(state, channel_source.node)
        for channel_source in channel_sources
    }
    reducer = SelectivityReducer(channel_sources, labels, preferred)
    finished = run_reducer(
        model, model_trace, reducer, source, stage="selectivity",
        pass_options=pass_options.in_subfolder("selectivity"),
    )  # fmt: skip
    return {
        node: ChannelSelectivity(classes, reducer.areas(finished.state, node))
        for node, classes in preferred.items()
    }
