"""`patches`: one pass over photos, then the winners are cut out and proved."""

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convlens.analyses.patches.crop_check import (
    CropCheck,
    UnitActivation,
    check_crops,
    merge_crop_checks,
)
from convlens.analyses.patches.result import (
    ChannelPatches,
    LayerPatches,
    Patches,
    framed,
    numbers,
    tile,
)
from convlens.analyses.patches.selectivity import ClassMeanActivations
from convlens.analyses.patches.selectivity_pass import selectivity
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.analyses.patches.windows import box
from convlens.data.datasets.photo_dataset import check_photo_list
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes.engines import open_engine
from convlens.passes.fingerprints import fingerprint
from convlens.passes.options import PassOptions
from convlens.passes.reducer import State
from convlens.passes.run import run_reducer
from convlens.passes.source import PhotosOrImages, Source, open_source
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.selection import ChannelSource, Side, check_channel, find_channel_sources
from convlens.tracing.trace import Trace, trace

_AT_ONCE = 16  # channels whose images are held in memory
_SAMPLED = 16  # units of each layer that are proved beside those shown
_BANDS = 4  # shown below the strongest


def patches(
    model: Model,
    photos: PhotosOrImages,
    *,
    layers: Sequence[str] | str | None = None,
    side: Side = "post",
    top: int = 9,
    each: int = 1,
    show: int | Mapping[str, int | Sequence[int]] = 16,
    labels: Sequence[Sequence[int] | None] | None = None,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Patches:
    """The patches that excite each channel most, with what else the channel responds to.

    All channels of all layers in one pass over the data (with labels a second one, for the
    selectivity). One patch of each image, so that one photo does not fill a row; of equal
    activations the image that comes first by its path wins.

    Args:
        model: left untouched.
        photos: files, taken in the order of their paths; a data set of them; or images
            `(N, C, H, W)` in the bounds.
        layers: names of layers or nodes. Default: all convolutions.
        side: of the layers: `post`, `pre` or `output`.
        top: patches for each channel.
        each: at most so many of one image.
        show: of how many channels of each layer patches are cut out, evenly spread; or their
            number, or the channels themselves, by the name of the layer.
        labels: for each photo the classes that are right, or None: gives the selectivity.
        seed: of what is sampled.
        strict: raise for a photo that cannot be read instead of leaving it out.
        pass_options: how the pass runs; see `PassOptions`. The stages are
            `photos`, with labels `selectivity`, and `crops`.

    Raises:
        ConvlensError: an unknown layer, one without maps, no photo that can be read, NaN in the
            activations, a folder of another pass.
    """
    check_model(model)
    check_photo_list(photos)
    if isinstance(layers, str):
        layers = [layers]
    if labels is not None and len(labels) != len(photos):
        raise ConvlensError(f"{len(labels)} labels for {len(photos)} photos")
    answers = labels
    if isinstance(photos, Sequence):
        order = sorted(range(len(photos)), key=lambda number: str(photos[number]))
        photos = [photos[number] for number in order]
        answers = [labels[number] for number in order] if labels is not None else None
    source = open_source(model, photos, strict=strict)
    found = trace(model, photos if isinstance(photos, Tensor) else None)
    names = tuple(source.name(number) for number in range(len(source)))
    channel_sources = find_channel_sources(found, layers, side)
    settings = {
        "layers": [one.node_name for one in channel_sources],
        "top": top,
        "each": each,
        "seed": seed,
    }
    means = ClassMeanActivations(channel_sources, answers) if answers is not None else None
    first = TopPatchesReducer(channel_sources, top=top, each=each, seed=seed, extra_columns=means)
    selective: dict[int, tuple[Tensor, Tensor]] = {}
    with open_engine(pass_options.engine):
        done = run_reducer(
            model, found, first, source, stage="photos", pass_options=pass_options,
            settings={**settings, "labels": fingerprint(answers)},
        )  # fmt: skip
        if means is not None and answers is not None:
            selective = selectivity(
                model, found, channel_sources, source, answers, means, done.state, pass_options
            )
    gathered = []
    for number, channel_source in enumerate(channel_sources):
        pass_options.progress("crops", number, len(channel_sources))
        table = first.table(done.state, channel_source.node)
        gathered.append(
            _layer(
                model,
                found,
                source,
                channel_source,
                table,
                show,
                seed,
                selective.get(channel_source.node),
                names,
            )
        )
    pass_options.progress("crops", len(channel_sources), len(channel_sources))
    return Patches(
        model=model.name,
        size=found.image_size,
        photos=names,
        seen=done.seen,
        skipped=tuple(done.skipped.values()),
        layers=tuple(gathered),
        labels=model.labels,
    )


def _layer(
    model: Model,
    found: Trace,
    source: Source,
    channel_source: ChannelSource,
    table: State,
    show: int | Mapping[str, int | Sequence[int]],
    seed: int,
    selective: tuple[Tensor, Tensor] | None,
    seen: Sequence[str],
) -> LayerPatches:
    field = found.field(channel_source.node)
    assert field is not None
    dims = found.spatial_dims(channel_source.node)
    assert dims is not None
    height, width = (found.shape(channel_source.node)[dim] for dim in dims)
    chosen = _channels(channel_source, table, show)
    bands = _bands(table, chosen)
    sample = _sample(table, seed)
    shown: list[ChannelPatches] = []
    crop_checks: list[CropCheck] = []
    # A few channels at a time, so that their images fit the memory however many are shown.
    for start in range(0, max(1, len(chosen)), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        entries = [(c, k, int(i)) for c in part for k, i in enumerate(numbers(table["images"][c]))]
        entries = [entry for entry in entries if entry[2] >= 0] + (sample if start == 0 else [])
        below = [(channel, band) for channel, band in bands if channel in part]
        needed = {image for _, _, image in entries}
        needed |= {int(table["band_images"][channel, band]) for channel, band in below}
        held = _read(source, sorted(needed))
        for channel in part:
            mine = [band for one, band in below if one == channel]
            shown.append(_channel(model, field, table, channel, mine, width, held, seen))
        if held:
            units = [
                _unit(table, channel, rank, width, held[image][0])
                for channel, rank, image in dict.fromkeys(entries)
            ]
            images = torch.stack([image for _, image in held.values()])
            crop_checks.append(check_crops(model, found, channel_source.node, images, units))
    extent = field.size
    empty = torch.zeros(0)
    return LayerPatches(
        layer=channel_source.layer,
        also=channel_source.also,
        node_name=channel_source.node_name,
        side=channel_source.side,
        post=channel_source.post,
        maps=(height, width),
        field=(extent[0], extent[1]) if extent[0] and extent[1] else None,
        beyond=field.beyond,
        values=table["values"],
        images=numbers(table["images"]),
        rows=table["positions"] // width,
        columns=table["positions"] % width,
        images_fired=table["images_fired"],
        positions_fired=table["positions_fired"],
        histogram=table["histogram"],
        band_values=table["band_values"],
        band_images=numbers(table["band_images"]),
        band_rows=table["band_positions"] // width,
        band_columns=table["band_positions"] % width,
        preferred=selective[0] if selective else empty.long(),
        selectivity=selective[1] if selective else empty,
        shown=tuple(shown),
        crop_check=merge_crop_checks(crop_checks),
    )


def _channels(
    channel_source: ChannelSource, table: State, show: int | Mapping[str, int | Sequence[int]]
) -> list[int]:
    """The channels that are shown: those asked for, or as many evenly spread over the living."""
    if not isinstance(show, int):
        names = dict.fromkeys(
            (channel_source.layer, *channel_source.also, channel_source.node_name)
        )
        told = [show[name] for name in names if name in show]
        count = max((one for one in told if isinstance(one, int)), default=0)
        asked = [channel for one in told if not isinstance(one, int) for channel in one]
        if not asked:
            return _channels(channel_source, table, count)
        for channel in asked:
            check_channel(channel_source.layer, channel, channel_source.channels)
        return list(dict.fromkeys(asked))
    living = table["images_fired"].nonzero().flatten().tolist()
    count = min(show, len(living))
    return [living[number * len(living) // count] for number in range(count)]


def _bands(table: State, channels: Sequence[int]) -> list[tuple[int, int]]:
    """Channel and octave of the samples shown: the highest octaves below the strongest's own."""
    chosen = []
    for channel in channels:
        there = (numbers(table["band_images"][channel]) >= 0).nonzero().flatten().tolist()
        chosen += [(channel, band) for band in there[::-1][1 : _BANDS + 1]]
    return chosen


def _sample(table: State, seed: int) -> list[tuple[int, int, int]]:
    """Channel, rank and image of some entries of the table, drawn."""
    there = (numbers(table["images"]) >= 0).nonzero().tolist()
    drawn = random.Random(seed).sample(there, min(_SAMPLED, len(there)))
    return [(channel, rank, int(table["images"][channel, rank])) for channel, rank in drawn]


def _read(source: Source, wanted: Sequence[int]) -> dict[int, tuple[int, Tensor]]:
    """By the image's number: its place among those read, and the image `(C, H, W)`."""
    held: dict[int, tuple[int, Tensor]] = {}
    for one in source.batches([(number, number + 1) for number in wanted]):
        if one.images is None:
            raise ConvlensError(
                f"{next(iter(one.skipped.values()))}: it was read a moment ago; leave the photos "
                f"alone while they are looked at"
            )
        held[one.start] = (len(held), one.images[0])
    return held


def _unit(table: State, channel: int, rank: int, width: int, image: int) -> UnitActivation:
    row, column = divmod(int(table["positions"][channel, rank]), width)
    return UnitActivation(image, channel, row, column, float(table["values"][channel, rank]))


def _channel(
    model: Model,
    field: Field,
    table: State,
    channel: int,
    bands: Sequence[int],
    width: int,
    held: Mapping[int, tuple[int, Tensor]],
    seen: Sequence[str],
) -> ChannelPatches:
    def drawn(image: int, position: int) -> Tensor:
        return tile(held[image][1], box(field, *divmod(position, width)), model.bounds)

    entries = [
        (image, int(table["positions"][channel, rank]))
        for rank, image in enumerate(numbers(table["images"][channel]).tolist())
        if image >= 0
    ]
    below = [
        (int(table["band_images"][channel, band]), int(table["band_positions"][channel, band]))
        for band in bands
    ]
    nothing = torch.zeros(0, dtype=torch.uint8)
    whole = nothing
    if entries:
        image, at = entries[0]
        whole = framed(held[image][1], box(field, *divmod(at, width)), model.bounds)
    return ChannelPatches(
        channel=channel,
        tiles=torch.stack([drawn(*entry) for entry in entries]) if entries else nothing,
        bands=torch.stack([drawn(*entry) for entry in below]) if below else nothing,
        band_values=tuple(float(table["band_values"][channel, band]) for band in bands),
        boxes=torch.tensor([box(field, *divmod(at, width)) for _, at in entries]),
        values=tuple(table["values"][channel, : len(entries)].tolist()),
        photos=tuple(seen[image] for image, _ in entries),
        fired=int(table["images_fired"][channel]) / max(1, int(table["histogram"][channel].sum())),
        whole=whole,
    )
