"""The channel page: patches, statistics, the map on a photo, and the maximized image."""

from starlette.requests import Request
from starlette.responses import Response

from convlens.explorer.pages.channel_panels import (
    describe_selectivity,
    list_bars,
    list_class_weights,
    list_quantiles,
)
from convlens.explorer.pages.choice_of_photo import choose_photo
from convlens.explorer.pages.events import stream_maximized, stream_tuning
from convlens.explorer.pages.patch_tiles import list_bands, list_patches
from convlens.explorer.patch_search import search_patches
from convlens.explorer.rendering import FAST, attempt, render, session_of
from convlens.explorer.session import MOST_SEARCHED
from convlens.html.pictures import PictureBudget
from convlens.tracing.channel_names import check_channel

_BYTES = 6_000_000  # of the pictures of a page
_MAP = 192  # CSS pixels of the map


async def channel(request: Request) -> Response:
    """Everything that is known of a channel."""
    session = session_of(request)
    network = await session.network()
    row = network.find_row(request.path_params["name"])
    number = request.path_params["channel"]
    assert row.source is not None  # as find_row refuses others
    check_channel(row.name, number, row.source.channels)
    photo = choose_photo(session, request.query_params.get("photo", ""))
    budget = PictureBudget(_BYTES, compression=FAST)
    cut_out, no_patches = await attempt(search_patches(session, row.name, [number]))
    layer, patches_reproduction = cut_out if cut_out is not None else (None, None)
    shown = layer.shown if layer is not None else ()
    entry = next((entry for entry in shown if entry.channel == number), None)
    maps, map_reproduction, no_map = None, None, "there is no photo yet; drop one on the start page"
    if photo is not None:
        computed, no_map = await attempt(session.feature_maps(photo, row.name))
        maps, map_reproduction = computed if computed is not None else (None, None)
    weights, weights_reproduction, no_weights = [], None, no_map
    if photo is not None:
        computed_weights, no_weights = await attempt(
            list_class_weights(session, photo, row, number)
        )
        weights, weights_reproduction = (
            computed_weights if computed_weights is not None else ([], None)
        )
    channel_map = maps.select([number]) if maps is not None else None
    return render(
        request, "pages/channel.html.jinja", network=network, row=row, channel=number, photo=photo,
        channels=row.source.channels, photos=session.photos.first(MOST_SEARCHED),
        layer=layer, entry=entry, no_patches=no_patches, patches_reproduction=patches_reproduction,
        tiles=list_patches(session, layer, entry, row.name, budget) if layer and entry else [],
        selectivity=describe_selectivity(session, layer, number) if layer is not None else "",
        bars=list_bars(layer, number) if layer is not None else [],
        bands=list_bands(entry, budget) if entry is not None else [],
        quantiles=list_quantiles(layer, number) if layer is not None else [],
        map=channel_map, no_map=no_map, map_reproduction=map_reproduction,
        map_picture=budget.thumbnail(channel_map.colors(channel_map.maps[0]), _MAP)
        if channel_map is not None else None,
        weights=weights, weights_reproduction=weights_reproduction, no_weights=no_weights,
        is_convolution=network.is_convolution(row.name),
    )  # fmt: skip


async def image(request: Request) -> Response:
    """The maximized image of a channel, as events."""
    session = session_of(request)
    row = (await session.network()).find_row(request.path_params["name"])
    assert row.source is not None
    check_channel(row.name, request.path_params["channel"], row.source.channels)
    return stream_maximized(request, f"{row.name}:{request.path_params['channel']}")


async def tuning(request: Request) -> Response:
    """The responses of a channel to drifting gratings, as events."""
    session = session_of(request)
    row = (await session.network()).find_row(request.path_params["name"])
    assert row.source is not None
    check_channel(row.name, request.path_params["channel"], row.source.channels)
    return stream_tuning(request, row.name, request.path_params["channel"])
