"""The channels of a page: what excites those of a few layers, and what gratings tell of them."""

from collections.abc import Sequence

from convlens.model import Model
from convlens.page import budget
from convlens.page.budget import spread
from convlens.page.desk import Desk
from convlens.page.parts import Cells, PhotoReport
from convlens.sweep.patches import patches
from convlens.tracing import Trace, trace
from convlens.views.excitation import watched
from convlens.views.patches import Patches
from convlens.views.tuning import tuning


def excite(model: Model, read: Sequence[PhotoReport], seed: int, desk: Desk) -> Patches | None:
    """What excites channels of a few layers, from the first convolution to the last.

    Layers in which every unit sees the whole image come last in the choice: nothing can be cut
    out of the photo there. Beside them stands the layer of the Grad-CAMs, with the channels that
    add most to these.
    """
    each = desk.seconds.get("answers", 0.0) / len(read)
    affordable = max(1, int(budget.CHANNELS.seconds / max(2 * each, 1e-9)))
    found = trace(model)
    places = watched(found, None)
    local = [place for place in places if _sees_a_part(found, place.value)]
    chosen = spread([place for place in local if place.post] or local or places, len(places))
    # The last of each of so many stretches of the network: what is furthest along.
    count = min(budget.CHANNELS.items, len(chosen))
    layers = [chosen[(number + 1) * len(chosen) // count - 1].layer for number in range(count)]
    show: dict[str, int | list[int]] = dict.fromkeys(layers, budget.CHANNELS_EACH)
    detector, adding = _adding(read)
    if detector is not None:
        value = watched(found, [detector])[0].value
        same = [place.layer for place in watched(found, layers) if place.value == value]
        show[same[0] if same else detector] = adding
    return patches(
        model,
        [one.path for one in spread(read, affordable)],
        layers=list(show),
        show=show,
        seed=seed,
        progress=lambda stage, done, total: desk.tell(f"channels, {stage}", done, total),
    )


def cells_of(model: Model, excited: Patches) -> tuple[Cells, ...]:
    """Simple and complex channels of the layers shown, where their units see few pixels.

    Gratings are then small images, and the network is run no further than the layer.
    """
    found = trace(model)
    cells = []
    for place in watched(found, [one.layer for one in excited.layers]):
        field = found.field(place.value)
        if field is None or field.beyond or not place.rectified:
            continue
        widest = max(int((field.high[axis] - field.low[axis]).max()) + 1 for axis in (0, 1))
        if widest > budget.GRATING_FIELD:
            continue
        told = tuning(model, layer=place.layer, orientations=8, phases=8)
        cells.append(Cells(place.layer, *told.counts()))
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


def _sees_a_part(found: Trace, value: int) -> bool:
    """Whether a middle unit sees less than the whole image."""
    field = found.field(value)
    if field is None or field.beyond:
        return False
    extents = (
        int((field.high[axis] - field.low[axis]).max()) + 1 < found.image_size[axis]
        for axis in (0, 1)
    )
    return any(extents)
