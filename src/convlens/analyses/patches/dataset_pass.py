"""`patches`: the strongest patches of each channel, from one pass over a data set."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from convlens.analyses.patches.layer_patches import (
    ChannelSelection,
    LayerTable,
    build_layer_patches,
)
from convlens.analyses.patches.result import Patches
from convlens.analyses.patches.selectivity import ClassMeanActivations
from convlens.analyses.patches.selectivity_pass import ChannelSelectivity, compute_selectivity
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.analyses.predictions.photo_labels import check_label_count
from convlens.capture.folded_networks import keep_folded_networks
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.data.prepared_photos import PREPARED_PHOTOS
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model, check_model
from convlens.passes.engines import open_engine
from convlens.passes.options import PassOptions
from convlens.passes.run import run_reducer
from convlens.passes.source import PhotosOrImages, check_photos, open_source
from convlens.results.network_result import keep_warnings
from convlens.runtime.fingerprints import fingerprint
from convlens.tracing.left_out import find_left_out
from convlens.tracing.selection import Side, find_channel_sources
from convlens.tracing.tracer import trace


@keep_warnings
def patches(
    model: Model,
    photos: PhotosOrImages,
    *,
    layers: Sequence[str] | str | None = None,
    side: Side = "post",
    top: int = 9,
    per_image: int = 1,
    show: ChannelSelection = 16,
    labels: PhotoLabels | None = None,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Patches:
    """Find the image patches that activate each channel most, and how often the channel is active.

    One pass over the data finds the patches of all channels of all layers; with labels a second
    pass measures the channels' selectivity. By default a channel gets one patch of each image, so
    that one photo does not fill its row. Ties between equal activations are broken by the path of
    the photo: the first path in alphabetical order goes first. Large images run in tiles
    (`convlens.capture.tiles`).

    Args:
        model: the model. It is left untouched.
        photos: files, taken in the order of their paths; a data set of photos; or images
            `(N, C, H, W)` inside the model's bounds.
        layers: names of layers or nodes. Default: all convolutions.
        side: side of the layers: "post" (default), "pre" or "output"; see
            `convlens.tracing.selection`.
        top: number of patches of each channel; default 9.
        per_image: greatest number of patches of one image; default 1.
        show: number of channels of each layer whose patches are cut out; default 16. The
            channels whose greatest activation differs most between the images are chosen: by its
            standard deviation in units of the strongest one, estimated from the histograms. Or a
            mapping from the names of layers to this number or to the channels.
        labels: for each photo its right classes, or None where they are not known. Default: no
            labels, and no selectivity.
        seed: seed of the sampled images and units; default 0.
        strict: raise an error for a photo that cannot be read; default: leave it out.
        pass_options: how the pass runs; see `PassOptions`. The stages are `photos`, with labels
            `selectivity`, and `crops`. Default: `PassOptions()`.

    Returns:
        The patches by layer, with activation statistics, pictures, and the check of the crops.

    Raises:
        ConvlensError: an unknown layer or one without maps, no photo that can be read, NaN in the
            activations, or a resume folder of another pass.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.3.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> result = convlens.patches(model, torch.rand(5, 3, 8, 8), top=2)
        >>> result["0"].values.shape, result["0"].crop_check.holds
        (torch.Size([4, 2]), True)
    """
    return _find_patches(
        model, photos, layers=layers, side=side, top=top, per_image=per_image, show=show,
        labels=labels, seed=seed, strict=strict, pass_options=pass_options, check=True,
    )  # fmt: skip


@keep_warnings
def tabulate_patches(
    model: Model,
    photos: PhotosOrImages,
    *,
    layers: Sequence[str],
    side: Side,
    top: int,
    seed: int,
    pass_options: PassOptions,
) -> Patches:
    """What `patches` finds with `show=0`, without running a sample of crops again.

    For callers that show no evidence, or cut the patches afterwards and check them then. The check
    takes longer than a pass over few photos.

    Returns:
        The tables by layer; each `crop_check` is empty.
    """
    return _find_patches(
        model, photos, layers=layers, side=side, top=top, per_image=1, show=0, labels=None,
        seed=seed, strict=False, pass_options=pass_options, check=False,
    )  # fmt: skip


@keep_folded_networks()
def _find_patches(
    model: Model,
    photos: PhotosOrImages,
    *,
    layers: Sequence[str] | str | None,
    side: Side,
    top: int,
    per_image: int,
    show: ChannelSelection,
    labels: PhotoLabels | None,
    seed: int,
    strict: bool,
    pass_options: PassOptions,
    check: bool,
) -> Patches:
    """The result of `patches`; with `check` off, without running crops again."""
    check_model(model)
    dataset = check_photos(model, photos)
    if isinstance(layers, str):
        layers = [layers]
    check_label_count(labels, len(dataset))
    dataset, labels = _sort_paths(dataset, labels)
    source = open_source(model, dataset, strict=strict)
    model_trace = trace(model, dataset if isinstance(dataset, Tensor) else None)
    names = tuple(source.name(number) for number in range(len(source)))
    channel_sources = find_channel_sources(model_trace, layers, side)
    means = ClassMeanActivations(channel_sources, labels) if labels is not None else None
    reducer = TopPatchesReducer(
        channel_sources, top=top, per_image=per_image, seed=seed, extra_columns=means
    )
    selectivity: dict[int, ChannelSelectivity] = {}
    with open_engine(pass_options.engine):
        finished = run_reducer(
            model, model_trace, reducer, source, stage="photos", pass_options=pass_options,
            settings={
                "layers": [channel_source.node_name for channel_source in channel_sources],
                "top": top, "per_image": per_image, "seed": seed, "labels": fingerprint(labels),
            },
        )  # fmt: skip
        if means is not None and labels is not None:
            selectivity = compute_selectivity(
                model, model_trace, channel_sources, source, labels, means, finished.state,
                pass_options,
            )  # fmt: skip
    no_labels = ChannelSelectivity(
        torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float32)
    )
    layer_results = []
    with PREPARED_PHOTOS.keep():  # most layers need photos of the layer before
        for number, channel_source in enumerate(channel_sources):
            pass_options.progress("crops", number, len(channel_sources))
            preferred, areas = selectivity.get(channel_source.node, no_labels)
            columns = reducer.table(finished.state, channel_source.node)
            table = LayerTable(channel_source, columns, preferred, areas)
            layer_results.append(
                build_layer_patches(
                    model, model_trace, source, names, table, show=show, seed=seed, check=check
                )
            )
    pass_options.progress("crops", len(channel_sources), len(channel_sources))
    return Patches(
        model=model.name,
        size=model_trace.image_size,
        photos=names,
        images_read=finished.images_read,
        skipped=tuple(finished.skipped.values()),
        layers=tuple(layer_results),
        labels=model.labels,
        left_out=tuple(map(str, find_left_out(model_trace))) if layers is None else (),
    )


def _sort_paths(
    photos: Sequence[str | Path] | PhotoDataset | Tensor, labels: PhotoLabels | None
) -> tuple[Sequence[str | Path] | PhotoDataset | Tensor, PhotoLabels | None]:
    """Files in the order of their paths, with their labels; other photos in their own order."""
    if not isinstance(photos, Sequence):
        return photos, labels
    paths = photos
    order = sorted(range(len(paths)), key=lambda number: str(paths[number]))
    return (
        [paths[number] for number in order],
        [labels[number] for number in order] if labels is not None else None,
    )
