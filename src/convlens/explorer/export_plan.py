"""The pages of an export by their kind, and what they are expected to cost."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from convlens.explorer.network import LayerRow
from convlens.explorer.pages.photo_panels import draw_stage
from convlens.explorer.rendering import FAST, attempt, to_picture
from convlens.explorer.session import MOST_SEARCHED, Session
from convlens.html.pictures import PictureBudget

_PHOTOS = 24  # that are exported, as many as the start page shows at once
_ON_PAGE = 64  # channels of a layer on one page
_SIDE = 96  # CSS pixels of a small picture
_MEASURED = 8  # photos on which a forward pass is measured; the fastest counts
# Of a page without its pictures.
_TEXT = 6_000  # bytes
_TEXT_OF_LAYER = 400  # bytes, in the list of layers
_SECONDS = 0.01


@dataclass(frozen=True)
class PageKind:
    """Pages that are made in the same way.

    Attributes:
        groups: their addresses, in groups that share work.
        passes: forward passes that a page takes, roughly.
        small: small pictures on a page, on average, as a number of small photos of as many bytes.
        large: pictures on a page in the size of the photo.
    """

    groups: list[list[str]]
    passes: float = 0.0
    small: float = 0.0
    large: float = 0.0

    @property
    def pages(self) -> int:
        """Number of pages."""
        return sum(map(len, self.groups))

    def sample(self) -> list[list[str]]:
        """Up to three groups, spread over all."""
        count = len(self.groups)
        return [self.groups[place] for place in sorted({count // 6, count // 2, count * 5 // 6})]


@dataclass(frozen=True)
class UnitCosts:
    """What was measured before any page is made.

    Attributes:
        seconds_of_pass: seconds of a forward pass of one photo.
        seconds_of_picture: seconds in which a small photo is drawn.
        bytes_of_small: bytes of a small photo.
        bytes_of_large: bytes of a picture in the size of the photo.
    """

    seconds_of_pass: float = 0.0
    seconds_of_picture: float = 0.0
    bytes_of_small: float = 0.0
    bytes_of_large: float = 0.0


@dataclass(frozen=True)
class Cost:
    """What pages take.

    Attributes:
        size: bytes.
        seconds: seconds of computing.
    """

    size: float
    seconds: float

    def describe(self) -> str:
        """In words, such as "about 3 MB and 20 s"."""
        time_needed = (
            f"{max(1, round(self.seconds))} s"
            if self.seconds < 90
            else f"{round(self.seconds / 60):,} min"
        )
        return f"about {max(1, round(self.size / 1e6)):,} MB and {time_needed}"


async def list_pages(session: Session, channels: Mapping[str, Sequence[int]]) -> list[PageKind]:
    """All pages that are exported, by their kind.

    Args:
        session: the session.
        channels: channels with a page, by the names of their layers.
    """
    to, network = session.addresses, await session.network()
    photos = session.photos.first(_PHOTOS)
    classes: dict[int, None] = {}
    photo_pages, gradcams, attacks = [], [], []
    for photo in photos:
        photo_pages.append([to.photo(photo.key), to.photo(photo.key, overlay="map")])
        predictions, _ = await attempt(session.predictions(photo))
        if predictions is None or not network.num_classes:
            continue
        shown = [index for index in predictions.classes[0].tolist() if index >= 0]
        classes |= dict.fromkeys([*shown, *(photo.classes or ())])
        explained = [None, *shown]
        gradcams.append(
            [to.photo(photo.key, overlay="gradcam", **{"class": index}) for index in explained]
        )
        attacks.append([to.photo(photo.key, overlay="epsilon")])
    maps, patches, channel_pages = [], [], []
    layers = network.with_maps
    for row in layers:
        assert row.source is not None  # as it has maps
        pages = -(-row.source.channels // _ON_PAGE)
        numbers = [None, *range(2, pages + 1)]
        maps.append([to.layer(row.name, page=number) for number in numbers])
        patches.append([to.layer(row.name, view="patches")])  # the other pages take minutes
        channel_pages.append([to.channel(row.name, channel) for channel in channels[row.name]])
    widths = [row.source.channels for row in layers if row.source is not None]
    on_page = [min(width, _ON_PAGE) for width in widths]
    labeled = session.photos.num_labeled
    # The numbers are those of the embedded network.
    kinds = [
        PageKind([[to.start()]], small=len(photos)),
        PageKind(photo_pages, passes=1, large=1),
        PageKind(gradcams, passes=3, large=1),
        PageKind(attacks, passes=25, large=1.5),
        PageKind(maps, passes=1, small=0.05 * sum(widths) / max(1, sum(map(len, maps)))),
        PageKind(patches, small=0.5 * sum(on_page) / max(1, len(on_page))),
        PageKind(channel_pages, passes=25, small=4),
        PageKind([[to.class_page(index)] for index in classes], passes=3, small=16),
        PageKind([[to.errors()]] if labeled else [], passes=labeled),
        PageKind([["/convolution"]]),
    ]
    return [kind for kind in kinds if kind.pages]


def first_channels(layers: Sequence[LayerRow], count: int) -> dict[str, Sequence[int]]:
    """The first channels of each layer, by its name: as many as have a page."""
    return {
        row.name: range(min(count, row.source.channels)) for row in layers if row.source is not None
    }


def interleave(kinds: Iterable[PageKind]) -> list[list[str]]:
    """The groups of all kinds, each kind spread evenly, so that pages take a steady time."""
    placed = [
        ((number + 0.5) / len(kind.groups), group)
        for kind in kinds
        for number, group in enumerate(kind.groups)
    ]
    return [group for _, group in sorted(placed, key=lambda entry: entry[0])]


async def measure_units(session: Session) -> UnitCosts:
    """Measure a forward pass and the drawing of a picture, which takes a fraction of a second."""
    layers = (await session.network()).with_maps
    passes, costs = [], UnitCosts()
    for photo in session.photos.first(_MEASURED):
        image, _ = await attempt(session.image(photo))
        if image is None:
            continue
        start = time.perf_counter()
        await attempt(session.feature_maps(photo, layers[-1].name)) if layers else None
        passes.append(time.perf_counter() - start)
        budget = PictureBudget(2**30, compression=FAST)
        pixels = to_picture(session, image)
        start = time.perf_counter()
        budget.thumbnail(pixels, _SIDE)
        seconds, small = time.perf_counter() - start, budget.limit - budget.left
        draw_stage(pixels, budget)
        large = budget.limit - budget.left - small
        costs = UnitCosts(min(passes), seconds, small, large)
    return costs


async def estimate_cost(session: Session, kinds: Sequence[PageKind], units: UnitCosts) -> Cost:
    """What an export takes, by what one pass and one picture take."""
    layers = len((await session.network()).rows)
    size, seconds = 0.0, units.seconds_of_pass * len(session.photos.files(MOST_SEARCHED))
    for kind in kinds:
        pictures = kind.small * units.bytes_of_small + kind.large * units.bytes_of_large
        size += kind.pages * (pictures + _TEXT + layers * _TEXT_OF_LAYER)
        drawing = (kind.small + kind.large) * units.seconds_of_picture
        seconds += kind.pages * (kind.passes * units.seconds_of_pass + drawing + _SECONDS)
    return Cost(size, seconds)
