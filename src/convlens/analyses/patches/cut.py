"""`cut_patches`: the patches of further channels, from the tables of a finished pass."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from convlens.analyses.patches.layer_patches import LayerTable, build_layer_patches
from convlens.analyses.patches.result import LayerPatches, Patches
from convlens.analyses.patches.top_k import NO_IMAGE
from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.passes.reducer import State
from convlens.passes.source import PhotosOrImages, Source, check_photos, open_source, read_images
from convlens.results.network_result import keep_warnings
from convlens.tracing.selection import ChannelSource, find_channel_sources
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

_IMAGES_AT_ONCE = 16


@keep_warnings
def cut_patches(
    model: Model,
    patches: Patches | str | Path,
    channels: Mapping[str, Sequence[int]],
    *,
    top: int | None = None,
    photos: PhotosOrImages | None = None,
    seed: int = 0,
) -> Patches:
    """Cut out the patches of further channels after a pass, without a further pass.

    A pass finds the strongest patches of all channels, and draws those of the channels that
    `patches` was asked to show. This reads the photos of other channels again and draws theirs.

    Args:
        model: the model of the pass; left untouched.
        patches: what `patches` returned, or the folder in which it was saved.
        channels: numbers of channels, from 0, by the name of their layer.
        top: number of patches of each channel, at least 1; the tables of the layers that are named
            keep so many. Default: as many as the pass has found.
        photos: the data set of the pass, unless it was a list of files. Default: the files that the
            pass read, under the same paths.
        seed: seed of the sample of further units that are checked; default 0.

    Returns:
        The same patches, in which the layers that are named show these channels.

    Raises:
        ConvlensError: a `top` below 1, a layer without patches, a channel that it lacks, another
            model than that of the pass, or photos or weights that have changed since.
        PhotoError: a photo that cannot be read any more.

    References:
        See `patches`.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> model, images = convlens.wrap(network, size=8), torch.rand(5, 3, 8, 8)
        >>> result = convlens.patches(model, images, show=0)
        >>> len(result["0"].shown)
        0
        >>> [entry.channel for entry in
        ...     convlens.cut_patches(model, result, {"0": [3, 1]}, photos=images)["0"].shown]
        [3, 1]
    """
    check_model(model)
    if top is not None and top < 1:
        raise ConvlensError(f"top is {top}; give at least 1")
    if not isinstance(patches, Patches):
        patches = Patches.load(patches)
    source = _open_photos(model, patches, photos)
    model_trace = trace(model, photos if isinstance(photos, Tensor) else None)
    check_patches_model(model, model_trace, patches)
    cut: dict[str, LayerPatches] = {}
    for name, numbers in channels.items():
        layer = patches[name]
        earlier = [entry.channel for entry in cut[layer.layer].shown] if layer.layer in cut else []
        shown = list(dict.fromkeys([*earlier, *numbers]))
        cut[layer.layer] = _cut_layer(
            model, model_trace, source, patches, layer, shown,
            top=top, seed=seed, check=True, compare=True,
        )  # fmt: skip
    layers = tuple(cut.get(layer.layer, layer) for layer in patches.layers)
    return replace(patches, layers=layers)


def draw_patches(
    model: Model,
    patches: Patches,
    layer: LayerPatches,
    channels: Sequence[int],
    *,
    top: int,
    compare: bool,
) -> LayerPatches:
    """Draw patches of channels as `cut_patches` does, without running the crops again.

    Args:
        model: the model of the pass; left untouched.
        patches: the result of a pass over files.
        layer: the layer of it.
        channels: numbers of channels.
        top: number of patches of each channel.
        compare: whether activations on the photos are compared with those of the pass, which may
            be an old one.

    Returns:
        The layer, whose `crop_check` is empty.

    Raises:
        ConvlensError: as `cut_patches`.
        PhotoError: a photo that cannot be read any more.
    """
    source = _open_photos(model, patches, None)
    model_trace = trace(model)
    return _cut_layer(
        model, model_trace, source, patches, layer, channels,
        top=top, seed=0, check=False, compare=compare,
    )  # fmt: skip


def _cut_layer(
    model: Model,
    model_trace: Trace,
    source: Source,
    patches: Patches,
    layer: LayerPatches,
    channels: Sequence[int],
    *,
    top: int | None,
    seed: int,
    check: bool,
    compare: bool,
) -> LayerPatches:
    """A layer of a pass with the patches of channels; the arguments are those of the callers."""
    channel_source = _find_source(model_trace, layer)
    table = LayerTable(
        channel_source, _as_table(layer, top), layer.preferred_class, layer.selectivity
    )
    cut = build_layer_patches(
        model, model_trace, source, patches.photos, table,
        show={layer.layer: list(channels)}, seed=seed, check=check,
    )  # fmt: skip
    if compare:
        check_unchanged(model, model_trace, source, cut, channel_source.node)
    return cut


def check_patches_model(model: Model, model_trace: Trace, patches: Patches) -> None:
    """Refuse patches of another model, as far as it can be told without its weights.

    Raises:
        ConvlensError: another name or size of the images, or a layer that the model lacks.
    """
    made_for = f"{patches.model} at {patches.size[0]} x {patches.size[1]}"
    size = model_trace.image_size
    if (patches.model, patches.size) != (model.name, size):
        raise ConvlensError(
            f"the patches are of {made_for} pixels, and the model is {model.name} at {size[0]} x "
            f"{size[1]}; give the model of the pass"
        )
    for layer in patches.layers:
        _find_source(model_trace, layer)


def check_unchanged(
    model: Model, model_trace: Trace, source: Source, layer: LayerPatches, node: int
) -> None:
    """Refuse photos on which the units of the patches have other activations than in the pass.

    Args:
        model: the model.
        model_trace: its trace.
        source: the photos.
        layer: the patches; those of its shown channels are compared.
        node: the node at which the channels were read.

    Raises:
        ConvlensError: a photo, or the weights, have changed since the pass.
    """
    channels = [entry.channel for entry in layer.shown]
    tolerance = 1e-3 * float(layer.values[layer.values.isfinite()].abs().max())
    numbers = [number for number in layer.images[channels].unique().tolist() if number >= 0]
    for start in range(0, len(numbers), _IMAGES_AT_ONCE):
        images = read_images(source, numbers[start : start + _IMAGES_AT_ONCE])
        batch = torch.stack(list(images.values())).to(model.device)
        captured = capture_nodes(model, model_trace, batch, [node])[node]
        maps = model_trace.channels_first(node, captured).cpu()
        for place, number in enumerate(images):
            for channel in channels:
                ranks = layer.images[channel] == number
                rows, columns = layer.rows[channel, ranks], layer.columns[channel, ranks]
                values = maps[place, channel, rows, columns].float()
                expected = layer.values[channel, ranks]
                if not torch.allclose(values, expected, rtol=1e-2, atol=tolerance):
                    raise ConvlensError(
                        f"{source.name(number)}, or the weights of {model.name}, have changed "
                        f"since the pass; run convlens patches again"
                    )


def _open_photos(model: Model, patches: Patches, photos: PhotosOrImages | None) -> Source:
    """The images of the pass.

    Raises:
        ConvlensError: other photos than those of the pass.
    """
    if photos is None:
        return open_source(model, [Path(name) for name in patches.photos], strict=True)
    dataset = check_photos(model, photos)
    if isinstance(dataset, Sequence):
        dataset = sorted(dataset, key=str)  # as the pass does
    source = open_source(model, dataset, strict=True)
    names = tuple(source.name(number) for number in range(len(source)))
    if names != patches.photos:
        raise ConvlensError(
            f"the patches are of {len(patches.photos):,} photos, and {len(names):,} others are "
            f"given; give those of the pass"
        )
    return source


def _find_source(model_trace: Trace, layer: LayerPatches) -> ChannelSource:
    """The node at which the channels of a layer of the pass were read.

    Raises:
        ConvlensError: the model has no such node.
    """
    for side in ("post", "pre", "output"):
        try:
            (source,) = find_channel_sources(model_trace, [layer.layer], side)
        except ConvlensError:
            continue
        if source.node_name == layer.node_name and source.channels == layer.channels:
            return source
    raise ConvlensError(
        f"the patches are of a layer {layer.layer!r} of {layer.channels} channels that "
        f"{model_trace.model_name} does not have; give the model of the pass"
    )


def _as_table(layer: LayerPatches, top: int | None) -> State:
    """The columns of a layer's result as `TopPatchesReducer.table` gives them.

    Args:
        layer: the result.
        top: number of patches of each channel; None for all.
    """
    width = layer.map_size[1]

    def numbers(images: Tensor) -> Tensor:
        return torch.where(images < 0, NO_IMAGE, images)

    return {
        "values": layer.values[:, :top],
        "images": numbers(layer.images)[:, :top],
        "positions": (layer.rows * width + layer.columns)[:, :top],
        "images_fired": layer.images_fired,
        "positions_fired": layer.positions_fired,
        "histogram": layer.histogram,
        "band_values": layer.band_values,
        "band_images": numbers(layer.band_images),
        "band_positions": layer.band_rows * width + layer.band_columns,
    }
