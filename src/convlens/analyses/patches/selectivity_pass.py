"""The second pass of a sweep with labels: how well channels tell their class from the others."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from convlens.analyses.patches.selectivity import ClassMeanActivations, SelectivityReducer
from convlens.models.model import Model
from convlens.passes.options import PassOptions
from convlens.passes.run import run_reducer
from convlens.passes.source import Source
from convlens.tracing.selection import ChannelSource
from convlens.tracing.trace import Trace


def selectivity(
    model: Model,
    found: Trace,
    channel_sources: Sequence[ChannelSource],
    source: Source,
    answers: Sequence[Sequence[int] | None],
    means: ClassMeanActivations,
    state: Mapping[str, Tensor],
    pass_options: PassOptions,
) -> dict[int, tuple[Tensor, Tensor]]:
    """By node: for each channel the class that it prefers, and the area under its ROC curve.

    Args:
        model: left untouched.
        found: its trace.
        channel_sources: whose channels.
        source: the images of the first pass.
        answers: for each of them the classes that are right, or None.
        means: that were kept in the first pass.
        state: what the first pass gave.
        pass_options: those of the first pass. This pass is saved in a subfolder of its resume
            folder; the first pass has checked that photos, labels and model are the same.
    """
    preferred = {one.node: means.preferred(state, one.node) for one in channel_sources}
    reducer = SelectivityReducer(channel_sources, answers, preferred)
    done = run_reducer(
        model, found, reducer, source, stage="selectivity",
        pass_options=pass_options.in_subfolder("selectivity"),
    )  # fmt: skip
    return {node: (classes, reducer.areas(done.state, node)) for node, classes in preferred.items()}
