"""The first screen: tiles, the strip of photos, the findings and the navigation, with pictures."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convlens.html.pictures import Picture, PictureBudget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Tile
from convlens.page.section import Section, Thumbnail
from convlens.wording import interval

_BYTES = 1_200_000  # of all pictures of the first screen
_TILE_SIDE = 96  # CSS pixels of a picture of a tile
_STRIP_SIDE = 82  # of a photo in the strip
_FINDING_SIDE = 52  # of a picture beside a finding
_FEW = 2  # pictures of a finding, at most


@dataclass(frozen=True)
class Example:
    """A photo or channel that a tile or a finding is about.

    Attributes:
        address: its address on the page.
        caption: what it is, in a few words.
        picture: its picture; None where it has none or the budget of bytes is used up.
    """

    address: str
    caption: str
    picture: Picture | None


@dataclass(frozen=True)
class TileView:
    """A tile, its interval in words (empty without one), and its pictures."""

    tile: Tile
    interval: str
    examples: list[Example]

    @property
    def address(self) -> str:
        """Where its link leads: to the first example, or else to its evidence."""
        return self.examples[0].address if self.examples else self.tile.evidence


@dataclass(frozen=True)
class FindingView:
    """A finding, its number on the page from 1, and the photos or channels that it is about."""

    number: int
    finding: Finding
    examples: list[Example]

    @property
    def address(self) -> str:
        """Where its link leads: to the first example, or else to its evidence."""
        return self.examples[0].address if self.examples else self.finding.evidence


@dataclass(frozen=True)
class StripPhoto:
    """One photo of the strip: its number from 0, its address, and its pictures."""

    number: int
    address: str
    plain: Picture | None
    map: Picture | None


@dataclass(frozen=True)
class NavigationEntry:
    """One section in the navigation, with the number of its findings that are not fine."""

    name: str
    title: str
    findings: int
    broken: bool


@dataclass(frozen=True)
class FirstScreen:
    """What stands above the sections.

    Attributes:
        tiles: the tiles, in their order.
        strip: the photos that are shown in full, the wrongly classified ones first.
        findings: the broken findings and those that are worth a look.
        fine: the findings that are fine.
        navigation: the sections in the order of the page.
        missing: number of pictures that did not fit into the budget.
    """

    tiles: list[TileView]
    strip: list[StripPhoto]
    findings: list[FindingView]
    fine: list[FindingView]
    navigation: list[NavigationEntry]
    missing: int


def view_first_screen(
    sections: Sequence[Section],
    inputs: Inputs,
    findings: Sequence[Finding],
    tiles: Sequence[Tile],
) -> FirstScreen:
    """The first screen, with thumbnails from the sections.

    Args:
        sections: the sections in the order of the page.
        inputs: inputs with the results of all sections.
        findings: findings of all sections, in the order of the page.
        tiles: tiles of all sections, in the order of the page.
    """
    thumbnails = _Thumbnails(sections, inputs)
    tile_views = [
        TileView(
            tile,
            interval(tile.proportion.low, tile.proportion.high) if tile.proportion else "",
            thumbnails.examples(tile.examples, _TILE_SIDE),
        )
        for tile in tiles
    ]
    strip = [
        StripPhoto(
            number,
            f"photo-{number + 1}",
            thumbnails.picture(f"photo-{number + 1}-plain", _STRIP_SIDE),
            thumbnails.picture(f"photo-{number + 1}-map", _STRIP_SIDE),
        )
        for number in inputs.shown_wrong_first
    ]
    views = []
    for number, finding in enumerate(findings, start=1):
        addresses = finding.examples[:_FEW] or (finding.evidence,)
        examples = thumbnails.examples(addresses, _FINDING_SIDE)
        views.append(FindingView(number, finding, examples))
    return FirstScreen(
        tiles=tile_views,
        strip=[photo for photo in strip if photo.plain is not None],
        findings=[view for view in views if view.finding.mark != "fine"],
        fine=[view for view in views if view.finding.mark == "fine"],
        navigation=_navigation(sections, findings),
        missing=thumbnails.pictures.missing,
    )


class _Thumbnails:
    """Pictures of photos and channels by their address, within the budget of the first screen."""

    def __init__(self, sections: Sequence[Section], inputs: Inputs) -> None:
        self._sections = sections
        self._inputs = inputs
        self.pictures = PictureBudget(_BYTES)

    def examples(self, addresses: Iterable[str], side: int) -> list[Example]:
        """Those of the addresses for which a section has a picture."""
        examples = []
        for address in addresses:
            thumbnail = self._find(address)
            if thumbnail is not None:
                picture = self.pictures.thumbnail(thumbnail.pixels, side)
                examples.append(Example(address, thumbnail.caption, picture))
        return examples

    def picture(self, address: str, side: int) -> Picture | None:
        """The picture of an address, or None."""
        thumbnail = self._find(address)
        return self.pictures.thumbnail(thumbnail.pixels, side) if thumbnail is not None else None

    def _find(self, address: str) -> Thumbnail | None:
        for section in self._sections:
            result = self._inputs.results.get(section.name)
            if result is not None:
                thumbnail = section.thumbnail(self._inputs, result, address)
                if thumbnail is not None:
                    return thumbnail
        return None


def _navigation(sections: Sequence[Section], findings: Sequence[Finding]) -> list[NavigationEntry]:
    """The sections that stand on their own; findings of their parts count as theirs."""
    parents = {section.name: section.parent for section in sections}
    names = set(parents)

    def outermost(name: str) -> str:
        parent = parents.get(name)
        return name if parent not in names else outermost(str(parent))

    looks = Counter(outermost(f.section) for f in findings if f.mark != "fine")
    broken = {outermost(f.section) for f in findings if f.mark == "broken"}
    entries = [(section.name, section.title) for section in sections if section.parent not in names]
    return [
        NavigationEntry(name, title, looks[name], name in broken)
        for name, title in [*entries, ("method", "Method")]
    ]
