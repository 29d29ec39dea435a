"""`shift`: what shifts do to layers and answers, over photos, in one pass and bounded memory."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from convlens.analyses.shift.consistency import around, margin_of, offsets, widened
from convlens.analyses.shift.equivariance import Offset, offsets_of, shifted_layers
from convlens.analyses.shift.shift import Shift, Shifts
from convlens.capture import recording
from convlens.data.datasets import check_photo_list
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes import BATCH, Engine, over
from convlens.passes.saved_state import mark
from convlens.passes.source import Given, first, given
from convlens.tracing.trace import trace

Tell = Callable[[str, int, int], None]


@recording()
def shift(
    model: Model,
    photos: Given,
    *,
    labels: Sequence[Sequence[int] | None] | None = None,
    shifts: Sequence[int | Offset] | None = None,
    every: int = 1,
    engine: Engine | str | None = None,
    batch: int = BATCH,
    seed: int = 0,
    strict: bool = False,
    folder: Path | None = None,
    save_every: float = 30.0,
    progress: Tell = lambda stage, done, total: None,
) -> Shift:
    """Equivariance of the layers, consistency of the answers, and the map over all offsets.

    For each photo five passes for the answers (its middle, two crops, two rolled images) and one
    more for each shift and for the image itself.

    Args:
        model: left untouched.
        photos: files or a data set of them, which are read a little larger than the image, so that
            crops can be cut out; or images `(N, C, H, W)` inside the bounds, of the model's size or
            larger (crops are cut from them). Where photos are squashed to the image their edges
            are repeated around it; images of the model's size without such a preprocessing have
            circular shifts only.
        labels: for each photo the classes that are right, or None.
        shifts: for the layers: pixels, or (rows, columns); default: one pixel, and the greatest
            stride of any layer. Empty leaves the layers out.
        every: pixels between the offsets of the map over the first photo; 0 leaves it out.
        engine: what runs it: "local", this machine and the default; "ray", or a `Ray` that says
            more. The result is the same.
        batch: photos at a time.
        seed: of the offsets, drawn for each photo by its number.
        strict: raise for a photo that cannot be read instead of leaving it out.
        folder: keeps what is done, so that a pass that was killed goes on; see `sweep.over`.
        save_every: seconds between saves into it.
        progress: called with a stage, how much is done and how much there is.

    Raises:
        ConvlensError: a shift that cannot be used, labels that do not fit, images smaller than the
            model's, no photo that can be read, a folder of another pass.
    """
    check_model(model)
    check_photo_list(photos)
    if isinstance(photos, Tensor) and any(
        side < own for side, own in zip(photos.shape[2:], model.size, strict=True)
    ):
        raise ConvlensError(
            f"images of {tuple(photos.shape[2:])} pixels for a model of {model.size}"
        )
    larger = widened(model)
    source = given(larger, photos, strict=strict)
    if labels is not None and len(labels) != len(source):
        raise ConvlensError(f"{len(labels)} labels for {len(source)} photos")
    if every < 0:
        raise ConvlensError(f"every {every}; give at least 1, or 0 to leave the map out")
    asked: tuple[Offset, ...] = ()
    if shifts is None or len(shifts):
        found = trace(model)
        asked = offsets_of(found, shifted_layers(found), shifts)
    work = Shifts.of(model, labels, margin_of(model), seed, asked)
    done = over(
        larger, work, source, engine=engine, batch=batch, folder=folder, save_every=save_every,
        options={"what": "shift", "shifts": list(asked), "seed": seed, "labels": mark(labels)},
        progress=lambda at, of: progress("photos", at, of),
    )  # fmt: skip
    over_all = None
    if every:
        progress("offsets", 0, 1)
        wide = first(source, 1)
        wide = around(model, wide)
        room = min(side - own for side, own in zip(wide.shape[2:], model.size, strict=True))
        protocol = "crop" if room > 0 else "circular"
        over_all = offsets(model, wide, protocol=protocol, step=every)
        progress("offsets", 1, 1)
    return work.result(done.state, tuple(done.skipped.values()), over_all)
