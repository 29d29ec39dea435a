"""The maps of the photo cards in each of the ways in which the page can show them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from torch import Tensor

from convlens.analyses.gradcam.result import GradCam
from convlens.drawing import draw_boxes
from convlens.html.pictures import Picture, PictureBudget
from convlens.page.photo_cards import PhotoCard, PhotoCards

# The first of each is what the page shows at first.
SCALES = ("own", "shared")
SIGNS = ("signed", "positive")
SIDES = ("this", "other")  # of the non-linearity
_LAYERS = 2  # that are shown beside that of the card
_LAYER_SIDE = 109  # CSS pixels of their maps


@dataclass(frozen=True)
class MapView:
    """One way to show one map.

    Attributes:
        scale: "own", or "shared" by all maps of the page.
        sign: "signed", or "positive" for the part that supports the class.
        side: "this", the side of the non-linearity that the report explains, or the "other".
        picture: the map over the photo; None if it did not fit into the budget.
        most: the value with the strongest color, in units of the logit.
    """

    scale: str
    sign: str
    side: str
    picture: Picture | None
    most: float


@dataclass(frozen=True)
class MapChoices:
    """The maps of all cards, and the ways to show them.

    Attributes:
        cards: for each card and each of its classes the ways, the one that is shown first ahead.
        scales: the scales that one can choose between.
        signs: the signs that one can choose between.
        sides: the sides that one can choose between.
    """

    cards: list[list[list[MapView]]]
    scales: tuple[str, ...]
    signs: tuple[str, ...]
    sides: tuple[str, ...]


@dataclass(frozen=True)
class LayerMap:
    """The map of the first class at another layer, on its own scale.

    Attributes:
        layer: name of the layer.
        cells: rows and columns of the map.
        picture: the map over the photo; None if it did not fit into the budget.
        most: the value with the strongest color, in units of the logit.
    """

    layer: str
    cells: tuple[int, int]
    picture: Picture | None
    most: float


def draw_layers(card: PhotoCard, pictures: PictureBudget) -> list[LayerMap]:
    """Draw the map at the next finer layers than that of the card.

    Args:
        card: a card; its `layers` may be None.
        pictures: makes the pictures.
    """
    if card.layers is None or card.gradcam is None:
        return []
    others = [
        (layer, cam)
        for layer, cam in zip(card.layers.layers, card.layers.gradcams, strict=True)
        if cam.nodes != card.gradcam.nodes
    ]
    return [
        LayerMap(
            layer=layer,
            cells=(cam.maps.shape[-2], cam.maps.shape[-1]),
            picture=pictures.thumbnail(_overlay(cam, 0, cam.scale, positive=False), _LAYER_SIDE),
            most=cam.scale,
        )
        for layer, cam in others[:_LAYERS]
    ]


def draw_first_maps(result: PhotoCards, pictures: PictureBudget) -> list[list[list[MapView]]]:
    """Draw the maps of all cards as the page shows them at first.

    Each map has its own scale, is signed, and is that of the side that the report explains.

    Args:
        result: the cards of the photos that are shown in full.
        pictures: makes the pictures.

    Returns:
        For each card and each of its classes a list of one view.
    """
    return _draw(result, [(SCALES[0], SIGNS[0], SIDES[0])], pictures)


def draw_other_maps(
    result: PhotoCards, first: list[list[list[MapView]]], pictures: PictureBudget
) -> MapChoices:
    """Draw the maps in the other ways; one is offered where the maps of all cards fit.

    Args:
        result: the cards of the photos that are shown in full.
        first: from `draw_first_maps`.
        pictures: makes the pictures.
    """
    choices = MapChoices(first, SCALES[:1], SIGNS[:1], SIDES[:1])
    if result.scale is None:
        return choices
    all_sides = SIDES if result.other_scale is not None else SIDES[:1]
    for scales, signs, sides in (
        (SCALES, SIGNS[:1], SIDES[:1]),
        (SCALES, SIGNS, SIDES[:1]),
        (SCALES, SIGNS, all_sides),
    ):
        drawn = set(product(choices.scales, choices.signs, choices.sides))
        ways = [way for way in product(scales, signs, sides) if way not in drawn]
        more = pictures.all_or_none(partial(_draw, result, ways, pictures))
        if more is None:
            break
        views = [
            [ahead + behind for ahead, behind in zip(card, further, strict=True)]
            for card, further in zip(choices.cards, more, strict=True)
        ]
        choices = MapChoices(views, scales, signs, sides)
    return choices


def _draw(
    result: PhotoCards, ways: Sequence[tuple[str, str, str]], pictures: PictureBudget
) -> list[list[list[MapView]]]:
    """For each card and class a view for each way: scale, sign and side."""
    views: list[list[list[MapView]]] = []
    for card in result.cards:
        classes = card.gradcam.maps.shape[1] if card.gradcam is not None else 0
        views.append([[] for _ in range(classes)])
        for scale, sign, side in ways:
            cam = card.gradcam if side == SIDES[0] else card.other_side
            shared = result.scale if side == SIDES[0] else result.other_scale
            if cam is None or shared is None:
                continue
            for rank in range(classes):
                most = shared if scale == "shared" else float(cam.maps[0, rank].abs().max())
                if sign == "positive" and scale == "own":
                    most = float(cam.maps[0, rank].clamp(min=0).max())
                pixels = _overlay(cam, rank, most, positive=sign == "positive")
                picture = pictures.photo(draw_boxes(pixels, card.boxes))
                views[-1][rank].append(MapView(scale, sign, side, picture, most))
    return views


def _overlay(cam: GradCam, rank: int, most: float, *, positive: bool) -> Tensor:
    """One map over its photo; the cells below zero are left out where only the others count."""
    maps = cam.maps[:, rank : rank + 1]
    return replace(cam, maps=maps.clamp(min=0) if positive else maps).overlays(most)[0, 0]
