"""`invariance`: how far channels stay excited when place, scale and light change, over photos."""

from collections.abc import Callable, Sequence
from pathlib import Path

from convlens.analyses.patches.selectivity import ClassMeanActivations
from convlens.analyses.patches.selectivity_pass import selectivity
from convlens.analyses.patches.top_patches import TopPatchesReducer, watched
from convlens.analyses.shift.invariance import Changes, Invariance, Totals, told
from convlens.capture import recording
from convlens.data.datasets import check_photos
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes import BATCH, Engine, over, sweep
from convlens.passes.engines import opened
from convlens.passes.saved_state import mark
from convlens.passes.source import Given, given
from convlens.tracing import trace

Tell = Callable[[str, int, int], None]


@recording()
def invariance(
    model: Model,
    photos: Given,
    *,
    layer: str,
    channels: Sequence[int] | None = None,
    labels: Sequence[Sequence[int] | None] | None = None,
    top: int = 9,
    engine: Engine | str | None = None,
    batch: int = BATCH,
    strict: bool = False,
    folder: Path | None = None,
    save_every: float = 30.0,
    progress: Tell = lambda stage, done, total: None,
) -> Invariance:
    """What is left of channels' greatest activation after changes of place, scale and light.

    One pass finds the photos that excite each channel most, another changes these in twelve ways;
    with labels one more says how well each channel tells its class from the others.

    Args:
        model: left untouched.
        photos: files, an album of them, or images `(N, C, H, W)` inside the bounds.
        layer: whose channels; a convolution stands for the non-linearity after it.
        channels: of it; default: all.
        labels: for each photo the classes that are right, or None: gives the selectivity.
        top: photos of each channel that are changed.
        engine: what runs it: "local", this machine and the default; "ray", or a `Ray` that says
            more. The result is the same.
        batch: photos at a time.
        strict: raise for a photo that cannot be read instead of leaving it out.
        folder: keeps what is done of the first pass; see `sweep`.
        save_every: seconds between saves into it.
        progress: called with a stage, how much is done and how much there is.

    Raises:
        ConvlensError: an unknown layer or channel, one without maps, labels that do not fit or
            give fewer than two classes with five photos each, no photo that can be read.
    """
    check_model(model)
    check_photos(photos)
    source = given(model, photos, strict=strict)
    if labels is not None and len(labels) != len(source):
        raise ConvlensError(f"{len(labels)} labels for {len(source)} photos")
    found = trace(model)
    places = watched(found, [layer])
    place = places[0]
    for one in channels or ():
        if not 0 <= one < place.channels:
            raise ConvlensError(
                f"{layer} has {place.channels} channels, 0 to {place.channels - 1}; given {one}"
            )
    means = ClassMeanActivations(places, labels) if labels is not None else None
    first = TopPatchesReducer(places, top=top, statistics=False, extra_columns=Totals(place, means))
    options = {"what": "invariance", "layer": place.place, "top": top, "labels": mark(labels)}
    selective = None
    with opened(engine):
        done = sweep(
            model, found, first, source, engine=engine, batch=batch, folder=folder,
            save_every=save_every,
            options=options,
            progress=lambda at, of: progress("photos", at, of),
        )  # fmt: skip
        if means is not None and labels is not None:
            selective = selectivity(
                model, found, places, source, labels, means, done.state,
                engine=engine, batch=batch, folder=folder, save_every=save_every,
                progress=lambda at, of: progress("selectivity", at, of),
            )[place.value]  # fmt: skip
        table = first.table(done.state, place.value)
        winners = table["images"] if channels is None else table["images"].clone()
        if channels is not None:
            others = [one for one in range(place.channels) if one not in set(channels)]
            winners[others] = -1  # nobody's number: nothing is changed for them
        changes = over(
            model, Changes(model, place, winners), source, engine=engine, batch=batch,
            folder=folder and folder / "changes", save_every=save_every,
            options={"channels": None if channels is None else list(channels)},
            progress=lambda at, of: progress("changes", at, of),
        )  # fmt: skip
    return told(
        model,
        place,
        table,
        changes.state["left"],
        done.seen,
        channels,
        tuple(done.skipped.values()),
        selective,
    )
