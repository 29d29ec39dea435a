"""`shift`: what shifts do to layers and answers, over photos, in one pass and bounded memory."""

from collections.abc import Sequence

from torch import Tensor

from convlens.analyses.shift.consistency import around, margin_of, offsets, widened
from convlens.analyses.shift.equivariance import Offset, offsets_of, shifted_layers
from convlens.analyses.shift.shift import Shift, Shifts
from convlens.capture import recording
from convlens.data.datasets.photo_dataset import check_photo_list
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes.fingerprints import fingerprint
from convlens.passes.options import PassOptions
from convlens.passes.run import run_pass
from convlens.passes.source import PhotosOrImages, open_source, read_first_images
from convlens.tracing.trace import trace


@recording()
def shift(
    model: Model,
    photos: PhotosOrImages,
    *,
    labels: Sequence[Sequence[int] | None] | None = None,
    shifts: Sequence[int | Offset] | None = None,
    every: int = 1,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
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
        seed: of the offsets, drawn for each photo by its number.
        strict: raise for a photo that cannot be read instead of leaving it out.
        pass_options: how the pass runs; see `PassOptions`.

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
    source = open_source(larger, photos, strict=strict)
    if labels is not None and len(labels) != len(source):
        raise ConvlensError(f"{len(labels)} labels for {len(source)} photos")
    if every < 0:
        raise ConvlensError(f"every {every}; give at least 1, or 0 to leave the map out")
    asked: tuple[Offset, ...] = ()
    if shifts is None or len(shifts):
        found = trace(model)
        asked = offsets_of(found, shifted_layers(found), shifts)
    work = Shifts.of(model, labels, margin_of(model), seed, asked)
    done = run_pass(
        larger, work, source, stage="photos", pass_options=pass_options,
        settings={
            "what": "shift", "shifts": list(asked), "seed": seed, "labels": fingerprint(labels),
        },
    )  # fmt: skip
    over_all = None
    if every:
        pass_options.progress("offsets", 0, 1)
        wide = read_first_images(source, 1)
        wide = around(model, wide)
        room = min(side - own for side, own in zip(wide.shape[2:], model.size, strict=True))
        protocol = "crop" if room > 0 else "circular"
        over_all = offsets(model, wide, protocol=protocol, step=every)
        pass_options.progress("offsets", 1, 1)
    return work.result(done.state, tuple(done.skipped.values()), over_all)
