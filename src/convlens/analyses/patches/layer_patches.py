"""From a layer's table of strongest activations to its result: crops, pictures and their check."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.patches import activation_statistics
from convlens.analyses.patches.crop_check import RootMeanSquare, UnitActivation, check_crops
from convlens.analyses.patches.crop_check_result import CropCheck, merge_crop_checks
from convlens.analyses.patches.pictures import draw_field, draw_framed_image
from convlens.analyses.patches.result import ChannelPatches, LayerPatches
from convlens.analyses.patches.top_k import NO_IMAGE
from convlens.analyses.patches.windows import field_box
from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.passes.source import Source, read_images
from convlens.tracing.channel_names import check_channel
from convlens.tracing.memory import images_at_once
from convlens.tracing.receptive_field.fields import Field
from convlens.tracing.selection import ChannelSource
from convlens.tracing.trace import Trace

ChannelSelection = int | Mapping[str, int | Sequence[int]]

_CHANNELS_AT_ONCE = 16  # channels whose images are held in memory
_PIXELS_IN_MEMORY = 2**25  # of the images of these channels: 400 MB in color
_LARGE = 2**20  # pixels of an image, above which few images at a time are checked
_SAMPLED_UNITS = 16  # units of each layer that are checked beside those shown
_BANDS_SHOWN = 4  # octaves below the strongest


@dataclass(frozen=True)
class LayerTable:
    """The results of the pass for one layer.

    Attributes:
        source: the node at which the channels are read.
        table: the columns of `TopPatchesReducer.table`.
        preferred_class: int64 `(C,)`, or empty without labels.
        selectivity: float32 `(C,)`, or empty without labels.
    """

    source: ChannelSource
    table: State
    preferred_class: Tensor
    selectivity: Tensor


def build_layer_patches(
    model: Model,
    model_trace: Trace,
    photos: Source,
    names: Sequence[str],
    layer: LayerTable,
    *,
    show: ChannelSelection,
    seed: int,
    check: bool = True,
) -> LayerPatches:
    """Read the images of the shown channels again, draw their patches and check the crops.

    Args:
        model: the model. It is left untouched.
        model_trace: its trace.
        photos: the images of the pass.
        names: the name of each image.
        layer: the results of the pass for the layer.
        show: number of channels to show, or the channels, as for `patches`.
        seed: seed of the sample of further units that are checked.
        check: whether the crops are run again. Default: True.
    """
    source, table = layer.source, layer.table
    field = model_trace.field(source.node)
    dims = model_trace.spatial_dims(source.node)
    assert field is not None and dims is not None
    height, width = (model_trace.shape(source.node)[dim] for dim in dims)
    channels = _select_channels(source, table, show)
    bands = _select_bands(table, channels)
    sample = _sample_entries(table, seed) if check else []
    shown: list[ChannelPatches] = []
    checks: list[CropCheck] = []
    pixels = math.prod(model_trace.image_size)
    root_mean_square = RootMeanSquare(model, model_trace, source.node)
    images_of_channel = _find_images(table, channels, bands)
    for number, part in enumerate(_split_channels(images_of_channel, pixels)):
        entries = _list_entries(table, part) + (sample if number == 0 else [])
        needed = {image for _, _, image in entries}
        needed |= {image for channel in part for image in images_of_channel[channel]}
        images = read_images(photos, sorted(needed))
        for channel in part:
            own_bands = [band for other, band in bands if other == channel]
            shown.append(
                _draw_channel(model, field, layer, channel, own_bands, width, images, names)
            )
        for few in _split_images(images, pixels) if check else ():
            units = _units_in(few, table, entries, width)
            stacked = torch.stack(list(few.values()))
            checks.append(
                check_crops(model, model_trace, source.node, stacked, units, root_mean_square)
            )
    extent = field.size
    return LayerPatches(
        layer=source.layer,
        also=source.also,
        node_name=source.node_name,
        side=source.side,
        post=source.post,
        map_size=(height, width),
        field_size=(extent[0], extent[1]) if extent[0] and extent[1] else None,
        sees_whole_image=field.sees_whole_image,
        values=table["values"],
        images=image_numbers(table["images"]),
        rows=table["positions"] // width,
        columns=table["positions"] % width,
        images_fired=table["images_fired"],
        positions_fired=table["positions_fired"],
        histogram=table["histogram"],
        band_values=table["band_values"],
        band_images=image_numbers(table["band_images"]),
        band_rows=table["band_positions"] // width,
        band_columns=table["band_positions"] % width,
        preferred_class=layer.preferred_class,
        selectivity=layer.selectivity,
        shown=tuple(shown),
        crop_check=merge_crop_checks(checks),
    )


def image_numbers(images: Tensor) -> Tensor:
    """Numbers of images, with -1 for entries that are free."""
    return torch.where(images == NO_IMAGE, -1, images)


def _find_images(
    table: State, channels: Sequence[int], bands: Sequence[tuple[int, int]]
) -> dict[int, set[int]]:
    """The numbers of the images that are drawn for each channel."""
    images = {
        channel: {image for _, _, image in _list_entries(table, [channel])} for channel in channels
    }
    for channel, band in bands:
        images[channel].add(int(table["band_images"][channel, band]))
    return images


def _split_channels(images_of_channel: Mapping[int, set[int]], pixels: int) -> list[list[int]]:
    """Split channels so that the images of a few fit into memory, however many are shown.

    Args:
        images_of_channel: the numbers of the images of each channel.
        pixels: of an image.

    Returns:
        At least one list of channels, which is empty where there are no channels.
    """
    most_images = _PIXELS_IN_MEMORY // pixels
    parts: list[list[int]] = [[]]
    held: set[int] = set()
    for channel, images in images_of_channel.items():
        is_full = len(parts[-1]) == _CHANNELS_AT_ONCE or len(held | images) > most_images
        if parts[-1] and is_full:
            parts.append([])
            held = set()
        parts[-1].append(channel)
        held |= images
    return parts


def _split_images(images: Mapping[int, Tensor], pixels: int) -> Iterator[dict[int, Tensor]]:
    """Images by number, all at once unless they are large."""
    numbers = list(images)
    at_once = len(numbers) if pixels <= _LARGE else images_at_once(pixels, len(numbers))
    for start in range(0, len(numbers), max(1, at_once)):
        yield {number: images[number] for number in numbers[start : start + at_once]}


def _select_channels(source: ChannelSource, table: State, show: ChannelSelection) -> list[int]:
    """The channels asked for, or a number of them: those that differ most between the images."""
    if not isinstance(show, int):
        layer_names = dict.fromkeys((source.layer, *source.also, source.node_name))
        selections = [show[name] for name in layer_names if name in show]
        counts = [selection for selection in selections if isinstance(selection, int)]
        channels = [
            channel
            for selection in selections
            if not isinstance(selection, int)
            for channel in selection
        ]
        if not channels:
            return _select_channels(source, table, max(counts, default=0))
        for channel in channels:
            check_channel(source.layer, channel, source.channels)
        return list(dict.fromkeys(channels))
    order = activation_statistics.deviation_between_images(table["histogram"]).argsort(
        descending=True, stable=True
    )
    active = table["images_fired"][order] > 0
    return order[active][:show].tolist()


def _select_bands(table: State, channels: Sequence[int]) -> list[tuple[int, int]]:
    """Channel and octave of the samples shown: the highest octaves below the strongest's own."""
    bands = []
    for channel in channels:
        filled = (image_numbers(table["band_images"][channel]) >= 0).nonzero().flatten().tolist()
        bands += [(channel, band) for band in filled[::-1][1 : _BANDS_SHOWN + 1]]
    return bands


def _list_entries(table: State, channels: Sequence[int]) -> list[tuple[int, int, int]]:
    """Channel, rank and image of all entries of some channels."""
    return [
        (channel, rank, image)
        for channel in channels
        for rank, image in enumerate(image_numbers(table["images"][channel]).tolist())
        if image >= 0
    ]


def _sample_entries(table: State, seed: int) -> list[tuple[int, int, int]]:
    """Channel, rank and image of a random sample of the table's entries."""
    filled = (image_numbers(table["images"]) >= 0).nonzero().tolist()
    sampled = random.Random(seed).sample(filled, min(_SAMPLED_UNITS, len(filled)))
    return [(channel, rank, int(table["images"][channel, rank])) for channel, rank in sampled]


def _units_in(
    images: Mapping[int, Tensor],
    table: State,
    entries: Sequence[tuple[int, int, int]],
    width: int,
) -> list[UnitActivation]:
    """The units of the entries that lie in some images, each once, by the place of its image."""
    places = {number: place for place, number in enumerate(images)}
    return [
        _unit_activation(table, channel, rank, width, places[image])
        for channel, rank, image in dict.fromkeys(entries)
        if image in places
    ]


def _unit_activation(
    table: State, channel: int, rank: int, width: int, image: int
) -> UnitActivation:
    row, column = divmod(int(table["positions"][channel, rank]), width)
    return UnitActivation(image, channel, row, column, float(table["values"][channel, rank]))


def _draw_channel(
    model: Model,
    field: Field,
    layer: LayerTable,
    channel: int,
    bands: Sequence[int],
    width: int,
    images: Mapping[int, Tensor],
    names: Sequence[str],
) -> ChannelPatches:
    table = layer.table

    def draw(image: int, position: int) -> Tensor:
        return draw_field(images[image], field_box(field, *divmod(position, width)), model.bounds)

    entries = [
        (image, int(table["positions"][channel, rank]))
        for rank, image in enumerate(image_numbers(table["images"][channel]).tolist())
        # Behind a ReLU all positions of a map without activation are equal: none is a patch.
        if image >= 0 and (not layer.source.post or table["values"][channel, rank] > 0)
    ]
    band_entries = [
        (int(table["band_images"][channel, band]), int(table["band_positions"][channel, band]))
        for band in bands
    ]
    boxes = [field_box(field, *divmod(position, width)) for _, position in entries]
    empty = torch.zeros(0, dtype=torch.uint8)
    framed_image = empty
    if entries:
        framed_image = draw_framed_image(images[entries[0][0]], boxes[0], model.bounds)
    return ChannelPatches(
        channel=channel,
        tiles=torch.stack([draw(*entry) for entry in entries]) if entries else empty,
        bands=torch.stack([draw(*entry) for entry in band_entries]) if band_entries else empty,
        band_values=tuple(float(table["band_values"][channel, band]) for band in bands),
        boxes=torch.tensor(boxes, dtype=torch.int64),
        values=tuple(table["values"][channel, : len(entries)].tolist()),
        photos=tuple(names[image] for image, _ in entries),
        fired=int(table["images_fired"][channel]) / max(1, int(table["histogram"][channel].sum())),
        framed_image=framed_image,
    )
