"""The layer page: all channels of a layer as a grid, on one photo or by their strongest patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from convlens.analyses.feature_maps.feature_maps import FeatureMaps
from convlens.analyses.patches.result import LayerPatches
from convlens.errors import ConvlensError, suggest
from convlens.explorer.pages.choice_of_photo import choose_photo
from convlens.explorer.pages.maximized_grid import MOST, reproduce_images
from convlens.explorer.pages.numbered_pages import take_page
from convlens.explorer.pages.patch_tiles import shows_response
from convlens.explorer.patch_search import search_patches
from convlens.explorer.rendering import FAST, attempt, render, session_of
from convlens.explorer.session import MOST_SEARCHED, Session
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.labels import class_name
from convlens.results.reproduction import Reproduction

_CHANNELS = MOST  # on one page
_SIDE = 96  # CSS pixels of a tile
_BYTES = 6_000_000  # of the pictures of a page
MAPS, PATCHES, MAXIMIZED = "maps", "patches", "maximized"
VIEWS = {
    MAPS: "Maps on the photo",
    PATCHES: "Strongest patches",
    MAXIMIZED: "Maximized images",
}
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


@dataclass(frozen=True)
class ChannelValues:
    """The numbers by which channels are described and ordered.

    Attributes:
        maps: the maps of all channels on the photo; None without a photo.
        statistics: how the channels respond to several photos; None where that is not known.
        labels: names of the classes; None where the model has none.
    """

    maps: FeatureMaps | None
    statistics: LayerPatches | None
    labels: Sequence[str] | None

    @cached_property
    def activations(self) -> list[float] | None:
        """For each channel its greatest activation on the photo."""
        if self.maps is None:
            return None
        greatest: list[float] = self.maps.maps.amax((1, 2)).tolist()
        return greatest

    @cached_property
    def fired(self) -> list[float] | None:
        """For each channel the share of the photos in which it is above 0 somewhere."""
        if self.statistics is None:
            return None
        photos = self.statistics.histogram.sum(1).clamp(min=1)
        shares: list[float] = (self.statistics.images_fired / photos).tolist()
        return shares

    @cached_property
    def areas(self) -> list[float] | None:
        """For each channel the area under the ROC curve for its class; None without labels."""
        if self.statistics is None or not len(self.statistics.selectivity):
            return None
        areas: list[float] = self.statistics.selectivity.nan_to_num(0).tolist()
        return areas

    def order_channels(self, count: int, order: str) -> list[int]:
        """The channels in one of `ORDERS`, the greatest values first; else by their number."""
        by_order = {ACTIVATION: self.activations, FIRED: self.fired, SELECTIVITY: self.areas}
        values = by_order.get(order)
        channels = range(count)
        if values is None:
            return list(channels)
        return sorted(channels, key=lambda channel: (-values[channel], channel))

    def make_tile(self, channel: int, picture: Picture | None) -> ChannelTile:
        """A channel with its numbers."""
        return ChannelTile(
            channel=channel,
            picture=picture,
            activation=self.activations[channel] if self.activations is not None else None,
            fired=self.fired[channel] if self.fired is not None else None,
            dead=self.statistics is not None and channel in self.statistics.dead,
            preferred=self._name_preferred(channel),
        )

    def _name_preferred(self, channel: int) -> str:
        if self.statistics is None or self.areas is None:
            return ""
        if bool(self.statistics.selectivity[channel].isnan()):
            return ""
        return class_name(self.labels, int(self.statistics.preferred_class[channel]))


async def layer(request: Request) -> Response:
    """The channels of a layer in the order that the address names."""
    session, query = session_of(request), request.query_params
    network = await session.network()
    row = network.find_row(request.path_params["name"])
    assert row.source is not None  # as find_row refuses others
    view, order = _read_choice(query, "view", VIEWS), _read_choice(query, "order", ORDERS)
    photo = choose_photo(session, query.get("photo", ""))
    maps, reproduction, no_maps = None, None, "there is no photo yet; drop one on the start page"
    if photo is not None:
        computed, no_maps = await attempt(session.feature_maps(photo, row.name))
        maps, reproduction = computed if computed is not None else (None, None)
    computed_statistics, no_statistics = await attempt(search_patches(session, row.name, top=1))
    statistics = computed_statistics[0] if computed_statistics is not None else None
    values = ChannelValues(maps, statistics, session.model.labels)
    page = take_page(
        values.order_channels(row.source.channels, order), query.get("page", ""), _CHANNELS
    )
    if view == PATCHES:
        pictures, patches_again, reason = await _draw_patches(session, row.name, page.entries)
        reproduction = patches_again or reproduction
        reason = reason or no_statistics
    elif view == MAXIMIZED:
        pictures, reason = {}, ""
        reproduction = reproduce_images(session, row.name, page.entries)
    else:
        pictures, reason = _draw_maps(maps, page.entries), no_maps
    state = {
        "photo": photo.key if photo is not None else None,
        "view": view if view != MAPS else None,
        "order": order if order != NUMBER else None,
    }
    orders = {name: text for name, text in ORDERS.items() if name != SELECTIVITY or values.areas}
    return render(
        request, "pages/layer.html.jinja", network=network, row=row, photo=photo, page=page,
        tiles=[values.make_tile(channel, pictures.get(channel)) for channel in page.entries],
        maps=maps, view=view, order=order, views=VIEWS, orders=orders, reason=reason,
        reproduction=reproduction, photos=session.photos.first(MOST_SEARCHED),
        statistics=statistics, no_statistics=no_statistics,
        searched=int(statistics.histogram[0].sum()) if statistics is not None else 0,
        address=lambda **changes: session.addresses.layer(row.name, **(state | changes)),
    )  # fmt: skip


def _read_choice(query: QueryParams, name: str, choices: dict[str, str]) -> str:
    """One of several choices by the address; the first one where it names none.

    Raises:
        ConvlensError: another one, with the nearest.
    """
    text = query.get(name, next(iter(choices)))
    if text not in choices:
        raise ConvlensError(f"there is no {text!r} here{suggest(text, choices)}")
    return text


def _draw_maps(maps: FeatureMaps | None, channels: Sequence[int]) -> dict[int, Picture | None]:
    """The maps of channels on the photo; none without a photo."""
    if maps is None:
        return {}
    budget = PictureBudget(_BYTES, compression=FAST)
    colors = maps.colors(maps.maps[list(channels)])
    return {
        channel: budget.thumbnail(pixels, _SIDE)
        for channel, pixels in zip(channels, colors, strict=True)
    }


async def _draw_patches(
    session: Session, name: str, channels: Sequence[int]
) -> tuple[dict[int, Picture | None], Reproduction | None, str]:
    """The strongest patch of channels, how to compute them again, and why there are none."""
    budget = PictureBudget(_BYTES, compression=FAST)
    computed, reason = await attempt(search_patches(session, name, channels, top=1, check=False))
    if computed is None:
        return {}, None, reason
    patches, reproduction = computed
    pictures = {
        entry.channel: budget.thumbnail(entry.tiles[0], _SIDE)
        for entry in patches.shown
        if shows_response(patches, entry, 0)
    }
    return pictures, reproduction, ""
