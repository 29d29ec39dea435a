"""The second pass of a sweep with labels: how well channels tell their class from the others."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from convlens.analyses.patches.selectivity import ClassMeanActivations, SelectivityReducer
from convlens.analyses.patches.top_patches import ChannelSource
from convlens.models.model import Model
from convlens.passes import Engine, sweep
from convlens.passes.source import Source
from convlens.tracing.trace import Trace


def selectivity(
    model: Model,
    found: Trace,
    channel_sources: Sequence[ChannelSource],
    source: Source,
    answers: Sequence[Sequence[int] | None],
    means: ClassMeanActivations,
    state: Mapping[str, Tensor],
    *,
    engine: Engine | str | None,
    batch: int,
    folder: Path | None,
    save_every: float,
    progress: Callable[[int, int], None],
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
        engine: as for `sweep`.
        batch: images at a time.
        folder: that of the first pass, or None; what is done of this one is kept in it, as the
            first has seen to it that photos, labels and model are the same.
        save_every: seconds between saves.
        progress: called with how many images are done and how many there are.
    """
    preferred = {one.node: means.preferred(state, one.node) for one in channel_sources}
    reducer = SelectivityReducer(channel_sources, answers, preferred)
    done = sweep(
        model, found, reducer, source, engine=engine, batch=batch, save_every=save_every,
        folder=folder and folder / "selectivity", progress=progress,
    )  # fmt: skip
    return {node: (classes, reducer.areas(done.state, node)) for node, classes in preferred.items()}
