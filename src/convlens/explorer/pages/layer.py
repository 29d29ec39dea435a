"""The layer page: all channels of a layer as a grid, on one photo or by their strongest patch."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from convlens.analyses.patches.result import LayerPatches
from convlens.errors import ConvlensError, suggest
from convlens.explorer.pages.choice_of_photo import choose_photo
from convlens.explorer.pages.patch_tiles import shows_response
from convlens.explorer.patch_search import search_patches
from convlens.explorer.rendering import FAST, attempt, render, session_of
from convlens.explorer.session import MOST_SEARCHED
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.labels import class_name

_CHANNELS = 64  # on one page
_SIDE = 96  # CSS pixels of a tile
_BYTES = 6_000_000  # of the pictures of a page
MAPS, PATCHES = "maps", "patches"
VIEWS = {MAPS: "Maps on the photo", PATCHES: "Strongest patches"}
NUMBER, ACTIVATION, FIRED, SELECTIVITY = "number", "activation", "fired", "selectivity"
ORDERS = {
    NUMBER: "number",
    ACTIVATION: "activation on this photo",
    FIRED: "share of photos",
    SELECTIVITY: "selectivity for a class",
}


@dataclass(frozen=True)
class ChannelTile:
    """A channel of the grid.

    Attributes:
        channel: its number.
        picture: its map, or its strongest patch; None where it has none.
        activation: its greatest activation on the photo; None without a photo.
        fired: share of the photos in which it is above 0; None where that is not known.
        dead: whether it never fires although a non-linearity returns it.
        preferred: the class that it is most selective for; empty where no labels are known.
    """

    channel: int
    picture: Picture | None
    activation: float | None
    fired: float | None
    dead: bool
    preferred: str = ""


async def layer(request: Request) -> Response:
    """The channels of a layer in the order that the address names."""
    session, query = session_of(request), request.query_params
    network = await session.network()
    row = network.find_row(request.path_params["name"])
    assert row.source is not None  # as find_row refuses others
    view, order = query.get("view", MAPS), query.get("order", NUMBER)
    for text, known in ((view, VIEWS), (order, ORDERS)):
        if text not in known:
            raise ConvlensError(f"there is no {text!r} here{suggest(text, known)}")
    photo = choose_photo(session, query.get("photo", ""))
    maps, reproduction, no_maps = None, None, "there is no photo yet; drop one on the start page"
    if photo is not None:
        computed, no_maps = await attempt(session.feature_maps(photo, row.name))
        maps, reproduction = computed if computed is not None else (None, None)
    statistics, no_statistics = await attempt(search_patches(session, row.name, top=1))
    activations = maps.maps.amax((1, 2)).tolist() if maps is not None else None
    fired = _share_fired(statistics[0]) if statistics is not None else None
    areas = _list_areas(statistics[0]) if statistics is not None else None
    channels = list(range(row.source.channels))
    values = {NUMBER: None, ACTIVATION: activations, FIRED: fired, SELECTIVITY: areas}[order]
    if values is not None:
        channels.sort(key=lambda channel: (-values[channel], channel))
    pages = max(1, -(-len(channels) // _CHANNELS))
    text = query.get("page", "1")
    number = min(max(int(text) if text.isdecimal() and len(text) < 10 else 1, 1), pages)
    shown = channels[(number - 1) * _CHANNELS : number * _CHANNELS]
    budget = PictureBudget(_BYTES, compression=FAST)
    pictures: dict[int, Picture | None] = {}
    reason = no_maps if view == MAPS else no_statistics
    if view == MAPS and maps is not None:
        colors = maps.colors(maps.maps[shown])
        pictures = {
            channel: budget.thumbnail(pixels, _SIDE)
            for channel, pixels in zip(shown, colors, strict=True)
        }
    elif view == PATCHES and statistics is not None:
        cut_out, reason = await attempt(search_patches(session, row.name, shown, top=1))
        if cut_out is not None:
            reproduction = cut_out[1]
            pictures = {
                entry.channel: budget.thumbnail(entry.tiles[0], _SIDE)
                for entry in cut_out[0].shown
                if shows_response(cut_out[0], entry, 0)
            }
    dead = set(statistics[0].dead) if statistics is not None else set()
    tiles = [
        ChannelTile(
            channel,
            pictures.get(channel),
            activations[channel] if activations is not None else None,
            fired[channel] if fired is not None else None,
            channel in dead,
            class_name(session.model.labels, int(statistics[0].preferred_class[channel]))
            if statistics is not None
            and areas is not None
            and not statistics[0].selectivity[channel].isnan()
            else "",
        )
        for channel in shown
    ]
    state = {
        "photo": photo.key if photo is not None else None,
        "view": view if view != MAPS else None,
        "order": order if order != NUMBER else None,
    }
    orders = {name: text for name, text in ORDERS.items() if name != SELECTIVITY or areas}
    return render(
        request, "pages/layer.html.jinja", network=network, row=row, photo=photo, tiles=tiles,
        maps=maps, view=view, order=order, views=VIEWS, orders=orders, number=number, pages=pages,
        reason=reason, reproduction=reproduction, photos=list(session.photos)[:MOST_SEARCHED],
        statistics=statistics[0] if statistics is not None else None, no_statistics=no_statistics,
        searched=int(statistics[0].histogram[0].sum()) if statistics is not None else 0,
        address=lambda **changes: session.addresses.layer(row.name, **(state | changes)),
    )  # fmt: skip


def _list_areas(statistics: LayerPatches) -> list[float] | None:
    """For each channel the area under the ROC curve for its class; None without labels."""
    if not len(statistics.selectivity):
        return None
    areas: list[float] = statistics.selectivity.nan_to_num(0).tolist()
    return areas


def _share_fired(statistics: LayerPatches) -> list[float]:
    """For each channel the share of the photos in which it is above 0 somewhere."""
    photos = statistics.histogram.sum(1).clamp(min=1)
    shares: list[float] = (statistics.images_fired / photos).tolist()
    return shares
