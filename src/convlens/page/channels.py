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
    out of the photo there.
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
    return patches(
        model,
        [one.path for one in spread(read, affordable)],
        layers=layers,
        show=budget.CHANNELS_EACH,
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
