"""`shift`: what shifts change in layers and predictions, in one pass and bounded memory."""

from collections.abc import Sequence

from torch import Tensor

from convlens.analyses.predictions.photo_labels import check_photo_labels
from convlens.analyses.shift.offset_map import OffsetMap, map_offsets
from convlens.analyses.shift.shift import Shift, ShiftReducer
from convlens.analyses.shift.shifted_layers import Offset, find_shifted_layers, parse_shifts
from convlens.analyses.shift.views import find_margin, pad_squashed, with_margin
from convlens.capture.folded_networks import keep_folded_networks
from convlens.capture.gradients import enable_gradients
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model, check_model
from convlens.passes.options import PassOptions
from convlens.passes.run import run_pass
from convlens.passes.source import (
    PhotosOrImages,
    Source,
    check_photos,
    open_source,
    read_first_images,
)
from convlens.results.network_result import keep_warnings
from convlens.runtime.fingerprints import fingerprint
from convlens.tracing.tracer import trace as trace_network

_OFFSETS = 16  # steps of the map over all offsets, along each axis


@keep_warnings
@enable_gradients()
@keep_folded_networks()
def shift(
    model: Model,
    photos: PhotosOrImages,
    *,
    labels: PhotoLabels | None = None,
    shifts: Sequence[int | Offset] | None = None,
    every: int | None = None,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Shift:
    """Measure equivariance of layers and consistency of predictions, and map all offsets.

    Each photo takes five forward passes for the predictions (its center, two crops, two rolled
    images), one for the layers, and one more for each shift.

    Args:
        model: the model; left untouched.
        photos: files or a data set of them, which are read slightly larger than the image, so that
            crops can be cut out; or images `(N, C, H, W)` inside the bounds, of the model's size or
            larger (crops are cut from them). Where photos are squashed to the image, their edges
            are repeated around it. Other images of the model's size have circular shifts only.
        labels: for each photo the indices of the classes that are right, or None; default: no
            labels.
        shifts: shifts for the layers, in pixels for both axes or as (rows, columns). Default: one
            pixel, and the greatest stride of any layer. An empty list leaves the layers out.
        every: pixels between the offsets of the map of the first photo; 0 leaves it out. Default:
            a sixteenth of their range.
        seed: seed of the offsets, drawn for each photo by its number; default 0.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the pass runs; see `PassOptions`. The stages are `photos` and `offsets`.
            Default: `PassOptions()`.

    Returns:
        Equivariance of every layer, consistency in two protocols, and the map of the first photo.

    Raises:
        ConvlensError: if a shift or the labels cannot be used, images are smaller than the
            model's, no photo can be read, or the resume folder is of another pass.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, sections 10.2.2 and 10.2.5;
        Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        ...     torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> measured = convlens.shift(model, torch.rand(3, 3, 10, 10), shifts=[1])
        >>> [(each.protocol, each.agreement.total) for each in measured.consistency]
        [('crop', 3), ('circular', 3)]
    """
    check_model(model)
    photos = check_photos(model, photos)
    if isinstance(photos, Tensor) and any(
        side < least for side, least in zip(photos.shape[2:], model.size, strict=True)
    ):
        raise ConvlensError(
            f"images of {tuple(photos.shape[2:])} pixels are smaller than {model.size}, the size "
            f"of {model.name}; give images of at least this size"
        )
    wide_model = with_margin(model)
    source = open_source(wide_model, photos, strict=strict)
    if labels is not None:
        check_photo_labels(model, labels, len(source))
    if every is not None and every < 0:
        raise ConvlensError(f"every {every}; give at least 1, or 0 to leave the map out")
    offsets: tuple[Offset, ...] = ()
    if shifts is None or len(shifts):
        trace = trace_network(model)
        offsets = parse_shifts(trace, find_shifted_layers(trace), shifts)
    margin = find_margin(model)
    reducer = ShiftReducer.for_model(model, labels, margin, seed, offsets)
    finished = run_pass(
        wide_model, reducer, source, stage="photos", pass_options=pass_options,
        settings={
            "analysis": "shift", "shifts": list(offsets), "seed": seed,
            "labels": fingerprint(labels),
        },
    )  # fmt: skip
    offset_map = None
    step = max(1, margin // _OFFSETS) if every is None else every
    if step:
        pass_options.progress("offsets", 0, 1)
        offset_map = _map_first_photo(model, source, step)
        pass_options.progress("offsets", 1, 1)
    return reducer.result(finished.state, tuple(finished.skipped.values()), offset_map)


def _map_first_photo(model: Model, source: Source, step: int) -> OffsetMap:
    wide = pad_squashed(model, read_first_images(source, 1))
    room = min(side - window for side, window in zip(wide.shape[2:], model.size, strict=True))
    return map_offsets(model, wide, protocol="crop" if room > 0 else "circular", step=step)
