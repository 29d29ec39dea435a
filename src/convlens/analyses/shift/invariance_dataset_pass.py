"""`invariance`: how far channels stay excited when place, scale and light change, over photos."""

from collections.abc import Sequence

from convlens.analyses.patches.selectivity import ClassMeanActivations
from convlens.analyses.patches.selectivity_pass import selectivity
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.analyses.shift.invariance import Changes, Invariance, Totals, told
from convlens.capture import recording
from convlens.data.datasets.photo_dataset import check_photo_list
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes.engines import open_engine
from convlens.passes.fingerprints import fingerprint
from convlens.passes.options import PassOptions
from convlens.passes.run import run_pass, run_reducer
from convlens.passes.source import PhotosOrImages, open_source
from convlens.tracing.selection import Side, check_channel, find_channel_sources
from convlens.tracing.trace import trace


@recording()
def invariance(
    model: Model,
    photos: PhotosOrImages,
    *,
    layer: str,
    side: Side = "post",
    channels: Sequence[int] | None = None,
    labels: Sequence[Sequence[int] | None] | None = None,
    top: int = 9,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Invariance:
    """What is left of channels' greatest activation after changes of place, scale and light.

    One pass finds the photos that excite each channel most, another changes these in twelve ways;
    with labels one more says how well each channel tells its class from the others.

    Args:
        model: left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds.
        layer: name of a layer or a node, whose channels are looked at.
        side: of the layer: `post`, `pre` or `output`.
        channels: of it; default: all.
        labels: for each photo the classes that are right, or None: gives the selectivity.
        top: photos of each channel that are changed.
        strict: raise for a photo that cannot be read instead of leaving it out.
        pass_options: how the pass runs; see `PassOptions`. The stages are
            `photos`, with labels `selectivity`, and `changes`.

    Raises:
        ConvlensError: an unknown layer or channel, one without maps, labels that do not fit or
            give fewer than two classes with five photos each, no photo that can be read.
    """
    check_model(model)
    check_photo_list(photos)
    source = open_source(model, photos, strict=strict)
    if labels is not None and len(labels) != len(source):
        raise ConvlensError(f"{len(labels)} labels for {len(source)} photos")
    found = trace(model)
    channel_sources = find_channel_sources(found, [layer], side)
    channel_source = channel_sources[0]
    for channel in channels or ():
        check_channel(layer, channel, channel_source.channels)
    means = ClassMeanActivations(channel_sources, labels) if labels is not None else None
    first = TopPatchesReducer(
        channel_sources, top=top, statistics=False, extra_columns=Totals(channel_source, means)
    )
    settings = {
        "what": "invariance",
        "layer": channel_source.node_name,
        "top": top,
        "labels": fingerprint(labels),
    }
    selective = None
    with open_engine(pass_options.engine):
        done = run_reducer(
            model, found, first, source, stage="photos", pass_options=pass_options,
            settings=settings,
        )  # fmt: skip
        if means is not None and labels is not None:
            selective = selectivity(
                model, found, channel_sources, source, labels, means, done.state, pass_options
            )[channel_source.node]
        table = first.table(done.state, channel_source.node)
        winners = table["images"] if channels is None else table["images"].clone()
        if channels is not None:
            others = [one for one in range(channel_source.channels) if one not in set(channels)]
            winners[others] = -1  # nobody's number: nothing is changed for them
        changes = run_pass(
            model, Changes(model, channel_source, winners), source, stage="changes",
            pass_options=pass_options.in_subfolder("changes"),
            settings={"channels": None if channels is None else list(channels)},
        )  # fmt: skip
    return told(
        model,
        channel_source,
        table,
        changes.state["left"],
        done.seen,
        channels,
        tuple(done.skipped.values()),
        selective,
    )
