"""The channels of a page: what excites those of a few layers, and what gratings tell of them."""

import time
from collections.abc import Sequence
from dataclasses import replace

from convlens.analyses.feature_maps.feature_maps import feature_maps
from convlens.analyses.orientation_tuning.orientation_tuning import orientation_tuning
from convlens.analyses.patches.dataset_pass import patches
from convlens.analyses.patches.result import Patches
from convlens.analyses.patches.top_patches import ChannelSource, find_channel_sources
from convlens.models.model import Model
from convlens.page import budget
from convlens.page.budget import spread
from convlens.page.progress import Desk
from convlens.page.schema import Cells, LayerMaps, PhotoReport
from convlens.passes.options import PassOptions
from convlens.tracing.trace import Trace, trace


def excite(model: Model, read: Sequence[PhotoReport], seed: int, desk: Desk) -> Patches | None:
    """What excites channels of a few layers, from the first convolution to the last.

    Layers in which every unit sees the whole image come last in the choice: nothing can be cut
    out of the photo there. Beside them stands the layer of the Grad-CAMs, with the channels that
    add most to these.
    """
    each = desk.seconds.get("predictions", 0.0) / len(read)
    affordable = max(1, int(budget.CHANNELS.seconds / max(2 * each, 1e-9)))
    found = trace(model)
    channel_sources = find_channel_sources(found, None)
    local = [one for one in channel_sources if _sees_a_part(found, one.node)]
    chosen = spread(
        [one for one in local if one.post] or local or channel_sources, len(channel_sources)
    )
    # The last of each of so many stretches of the network: what is furthest along.
    count = min(budget.CHANNELS.items, len(chosen))
    layers = [chosen[(number + 1) * len(chosen) // count - 1].layer for number in range(count)]
    show: dict[str, int | list[int]] = dict.fromkeys(layers, budget.CHANNELS_EACH)
    detector, adding = _adding(read)
    if detector is not None:
        node = find_channel_sources(found, [detector])[0].node
        same = [one.layer for one in find_channel_sources(found, layers) if one.node == node]
        show[same[0] if same else detector] = adding
    return patches(
        model,
        [one.path for one in spread(read, affordable)],
        layers=list(show),
        show=show,
        seed=seed,
        pass_options=PassOptions(
            progress=lambda stage, done, total: desk.tell(f"channels, {stage}", done, total)
        ),
    )


def cells_of(model: Model) -> tuple[Cells, ...]:
    """Simple and complex channels of a few layers, from the first one on, whose units see little.

    Gratings are then small images, and the network is run no further than the layer.
    """
    found = trace(model)
    near = [one for one in find_channel_sources(found, None) if one.rectified and _near(found, one)]
    count = min(budget.CELLS.items, len(near))
    # The first and the last, and evenly between them.
    chosen = [near[number * (len(near) - 1) // max(count - 1, 1)] for number in range(count)]
    cells: list[Cells] = []
    began = time.perf_counter()
    for channel_source in chosen:
        if time.perf_counter() - began > budget.CELLS.seconds:
            break
        told = orientation_tuning(model, layer=channel_source.layer, orientations=8, phases=8)
        cells.append(Cells(channel_source.layer, *told.counts()))
    return tuple(cells)


def _adding(read: Sequence[PhotoReport]) -> tuple[str | None, list[int]]:
    """The layer of the Grad-CAMs and its channels that add most to the first map of each photo."""
    cams = [one for one in read if one.gradcam is not None and any(one.shares)]
    if not cams or cams[0].gradcam is None:
        return None, []
    first = [one.shares[0] for one in cams]
    # Each photo's first channel before any photo's second.
    ranked = [
        share[at].channel for at in range(budget.SHARES) for share in first if at < len(share)
    ]
    return cams[0].gradcam.detector, list(dict.fromkeys(ranked))[: budget.CHANNELS_EACH]


def _near(found: Trace, channel_source: ChannelSource) -> bool:
    field = found.field(channel_source.node)
    if field is None or field.beyond:
        return False
    widest = max(int((field.high[axis] - field.low[axis]).max()) + 1 for axis in (0, 1))
    return widest <= budget.GRATING_FIELD


def maps_through(model: Model, rows: Sequence[PhotoReport]) -> tuple[LayerMaps, ...]:
    """The strongest feature maps of the first photo shown, from the first layer to the final one.

    Of the nodes with maps of one size the last is taken, and of those sizes a few, evenly spread;
    the first convolution and the final convolutional layer are always among them.
    """
    photo = next((one for one in rows if one.image is not None), None)
    if photo is None or photo.image is None:
        return ()
    found = trace(model)
    channel_sources = find_channel_sources(found, None)
    end = found.final_layer.post if found.final_layer else None
    by_size = {found.shape(one.node): one for one in channel_sources if one.node != end}
    last = list(dict.fromkeys([channel_sources[0], *by_size.values()]))
    names = [one.layer for one in spread(last, budget.MAPS.items - 1)]
    if end is not None and found.spatial_dims(end) is not None:
        names.append(
            next((one.layer for one in channel_sources if one.node == end), found.name(end))
        )
    shown = []
    for name in names:
        whole = feature_maps(model, photo.image.to(model.device), layer=name)
        chosen = whole.strongest(budget.MAPS_EACH)
        told = replace(whole, maps=whole.maps[list(chosen)])
        shown.append(
            LayerMaps(
                layer=name,
                node_name=told.node_name,
                final=name == names[-1] and end is not None,
                size=(told.maps.shape[1], told.maps.shape[2]),
                total=len(whole.maps),
                channels=chosen,
                scale=told.scale,
                signed=told.signed,
                photo=photo.path,
                tiles=told.colors(told.maps),
            )
        )
    return tuple(shown)


def _sees_a_part(found: Trace, node: int) -> bool:
    """Whether a middle unit sees less than the whole image."""
    field = found.field(node)
    if field is None or field.beyond:
        return False
    extents = (
        int((field.high[axis] - field.low[axis]).max()) + 1 < found.image_size[axis]
        for axis in (0, 1)
    )
    return any(extents)
