"""`invariance`: selectivity and invariance of the channels of a layer, over a data set."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from convlens.analyses.invariance.invariance import Invariance
from convlens.analyses.invariance.reducers import FIXED_POINT, ActivationTotals, VariantReducer
from convlens.analyses.invariance.variants import LIGHTS, PLACES, SCALES
from convlens.analyses.patches.selectivity import ClassMeanActivations
from convlens.analyses.patches.selectivity_pass import compute_selectivity
from convlens.analyses.patches.top_k import NO_IMAGE
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.analyses.predictions.photo_labels import check_label_count
from convlens.capture.gradients import enable_gradients
from convlens.models.labels import PhotoLabels, class_names
from convlens.models.model import Model, check_model
from convlens.passes.engines import open_engine
from convlens.passes.options import PassOptions
from convlens.passes.run import run_pass, run_reducer
from convlens.passes.source import PhotosOrImages, open_source
from convlens.results.network_result import keep_warnings
from convlens.runtime.fingerprints import fingerprint
from convlens.tracing.channel_names import check_channel
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.tracer import trace as trace_network


@keep_warnings
@enable_gradients()
def invariance(
    model: Model,
    photos: PhotosOrImages,
    *,
    layer: str | None = None,
    side: Side = "post",
    channels: Sequence[int] | None = None,
    labels: PhotoLabels | None = None,
    top: int = 9,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Invariance:
    """Measure how selective channels are, and how invariant to place, scale and light.

    One pass finds the photos that activate each channel most, and a second one changes these in
    twelve ways. With labels, one more pass measures how well each channel separates its class from
    the others. This is what the command `convlens selectivity` does.

    Args:
        model: the model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds.
        layer: the name of the layer of the channels, or of another node. Default: the last
            convolution with maps.
        side: the side of the layer at which its channels are read: `post` (what the non-linearity
            after the layer returns), `pre` or `output`. Default: `post`.
        channels: the numbers of its channels; default: all.
        labels: for each photo the indices of the classes that are right, or None if they are not
            known. Default: no labels, and no selectivity.
        top: how many photos of each channel are changed; default 9.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the passes run; see `PassOptions`. The stages are `photos`, with labels
            `selectivity`, and `changes`. Default: `PassOptions()`.

    Returns:
        The share of each channel's activation that remains after every change, and with labels its
        preferred class and its selectivity.

    Raises:
        ConvlensError: if the layer or a channel does not exist, the layer has no maps, the labels
            do not fit or give fewer than two classes with five photos each, or no photo can be
            read.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.1.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> convlens.invariance(model, torch.rand(5, 3, 8, 8), layer="0", top=2).place.shape
        torch.Size([4, 4])
    """
    check_model(model)
    source = open_source(model, photos, strict=strict)
    check_label_count(labels, len(source))
    trace = trace_network(model)
    if layer is None:
        layer = find_channel_sources(trace, None, side)[-1].layer
    channel_sources = find_channel_sources(trace, [layer], side)
    channel_source = channel_sources[0]
    for channel in channels or ():
        check_channel(layer, channel, channel_source.channels)
    class_means = ClassMeanActivations(channel_sources, labels) if labels is not None else None
    reducer = TopPatchesReducer(
        channel_sources,
        top=top,
        statistics=False,
        extra_columns=ActivationTotals(channel_source, class_means),
    )
    settings = {
        "analysis": "invariance",
        "layer": channel_source.node_name,
        "top": top,
        "labels": fingerprint(labels),
    }
    class_selectivity = None
    with open_engine(pass_options.engine):
        finished = run_reducer(
            model, trace, reducer, source, stage="photos", pass_options=pass_options,
            settings=settings,
        )  # fmt: skip
        if class_means is not None and labels is not None:
            class_selectivity = compute_selectivity(
                model, trace, channel_sources, source, labels, class_means, finished.state,
                pass_options,
            )[channel_source.node]  # fmt: skip
        table = reducer.table(finished.state, channel_source.node)
        changes = run_pass(
            model,
            VariantReducer(
                model, channel_source, _images_to_change(channel_source, table, channels)
            ),
            source, stage="changes",
            pass_options=pass_options.in_subfolder("changes"),
            settings={"channels": None if channels is None else list(channels)},
        )  # fmt: skip
    return _make_result(
        model,
        channel_source,
        table,
        changes.state["activations"],
        finished.images_read,
        range(channel_source.channels) if channels is None else channels,
        tuple(finished.skipped.values()),
        class_selectivity,
    )


def _images_to_change(
    channel_source: ChannelSource, table: Mapping[str, Tensor], channels: Sequence[int] | None
) -> Tensor:
    """The numbers of the strongest images of each channel; -1, no image, for channels left out."""
    top_images = table["images"].clone()
    if channels is not None:
        left_out = set(range(channel_source.channels)) - set(channels)
        top_images[sorted(left_out)] = -1
    return top_images


def _make_result(
    model: Model,
    channel_source: ChannelSource,
    table: Mapping[str, Tensor],
    activations: Tensor,
    images: int,
    channels: Sequence[int],
    skipped: tuple[str, ...],
    class_selectivity: tuple[Tensor, Tensor] | None,
) -> Invariance:
    """Make the result of the passes.

    Args:
        model: the model.
        channel_source: the channels.
        table: the strongest images of each channel, and the columns of `ActivationTotals`.
        activations: int64 `(C, 1 + P + S + L)`, from `VariantReducer`.
        images: the number of images.
        channels: the numbers of the channels to report.
        skipped: the images that could not be read, with the reason.
        class_selectivity: preferred classes and areas under the ROC curve, or None.
    """
    rows = torch.tensor(list(channels), dtype=torch.int64)
    top_images = (table["images"] != NO_IMAGE).sum(dim=1)[rows].clamp(min=1)
    sums = activations[rows].double()
    unchanged = sums[:, :1]
    # Silent channels have no activation that could remain: NaN.
    shares = torch.where(unchanged > 0, sums[:, 1:] / unchanged, torch.nan).float()
    place, scale, light = shares.split([len(PLACES), len(SCALES), len(LIGHTS)], 1)
    means = unchanged[:, 0] / FIXED_POINT / top_images
    totals = table["total"][rows] / FIXED_POINT / max(1, images)
    preferred, areas = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float32)
    if class_selectivity is not None:
        preferred, areas = (column[rows] for column in class_selectivity)
    return Invariance(
        model=model.name,
        layer=channel_source.layer,
        node_name=channel_source.node_name,
        side=channel_source.side,
        images=images,
        skipped=skipped,
        channels=rows,
        top=table["images"].shape[1],
        activations=means.float(),
        typical=(totals / means.clamp(min=1e-12)).float(),
        places=PLACES,
        scales=SCALES,
        lights=LIGHTS,
        place=place,
        scale=scale,
        light=light,
        preferred=preferred,
        names=class_names(model.labels, preferred.tolist()),
        selectivity=areas,
    )
