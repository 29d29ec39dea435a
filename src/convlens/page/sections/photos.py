"""The section on photos: predictions, Grad-CAM with its checks, and the smallest flip of each."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion
from convlens.analyses.gradcam.result import GradCam
from convlens.data.images import to_pixels
from convlens.html import scales
from convlens.html.charts import polyline
from convlens.html.pictures import Picture, PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.photo_cards import CLASSES_SHOWN, PhotoCard, PhotoCards, make_card
from convlens.page.photo_findings import find_photo_findings
from convlens.page.photo_maps import (
    LayerMap,
    MapView,
    draw_first_maps,
    draw_layers,
    draw_other_maps,
)
from convlens.page.photo_tiles import make_photo_thumbnail, make_photo_tiles
from convlens.page.result import Finding, ReportPhoto, Tile
from convlens.page.section import Section, Thumbnail
from convlens.page.sections.channels import SECTION as CHANNELS
from convlens.page.sections.channels import Channels
from convlens.results.reproduction import Reproduction

CURVES = (104, 44)  # width and height of the curves of deletion and insertion
_STRONGEST = 127  # gray levels of the magnified change
_PATCH_SIDE = 40  # CSS pixels of the patch of a channel
_FILTERS = (
    ("wrong", "wrong"),
    ("right", "right"),
    ("flips", "flip"),
    ("map-holds", "with a map that holds"),
    ("map-fails", "with a map that does not"),
)


@dataclass(frozen=True)
class _CardView:
    """What the page draws of one card; pictures that do not fit into the budget are None.

    Attributes:
        number: the photo's number on the page, from 1.
        id: its address.
        at: path of the card in the result.
        card: the card.
        traits: words by which the photos can be filtered.
        plain: the photo.
        maps: for each class the ways to show its map, the one that is shown first ahead.
        layers: the map of the first class at other layers.
        patches: pictures of channels that add most to the maps, by their address.
        flip: the photo with the change.
        change: the change, magnified.
        factor: how many times it is magnified.
        curves: names and lines of the curves of deletion and insertion.
        reproduce_gradcam: computes the maps again.
        reproduce_flip: computes the flip again.
    """

    number: int
    id: str
    at: str
    card: PhotoCard
    traits: list[str]
    plain: Picture | None
    maps: list[list[MapView]]
    layers: list[LayerMap]
    patches: dict[str, Picture | None]
    flip: Picture | None
    change: Picture | None
    factor: int
    curves: list[tuple[str, list[tuple[str, str]]]]
    reproduce_gradcam: Reproduction | None
    reproduce_flip: Reproduction | None


class PhotosSection(Section[PhotoCards]):
    """Predictions, maps and flips, photo by photo."""

    name = "photos"
    title = "Photos"
    budget = Budget(items=24, bytes=6_000_000)
    method = (
        (
            "Attack",
            "Fast gradient sign method against the network's own prediction, one gradient for all "
            "levels; each image is written as an 8-bit PNG, read back without resizing, and "
            "classified again. Control: random signs of the same size on the same pixels, one draw "
            "for each photo",
        ),
    )

    def compute(self, inputs: Inputs) -> PhotoCards:
        """The cards of the photos that are shown in full."""
        cards = []
        for done, (number, image) in enumerate(inputs.images.items(), start=1):
            cards.append(make_card(inputs, number, image))
            inputs.stages.report("photos", done, len(inputs.images))
        scale = _common_scale([card.gradcam for card in cards])
        other_scale = _common_scale([card.other_side for card in cards])
        complete = all(card.other_side is not None for card in cards if card.gradcam is not None)
        return PhotoCards(tuple(cards), scale, other_scale if complete else None)

    def findings(self, inputs: Inputs, result: PhotoCards) -> Iterator[Finding]:
        """What is predicted, what flips it, and whether the maps can be trusted."""
        return find_photo_findings(inputs, result)

    def reproduction(self, inputs: Inputs, result: PhotoCards) -> Reproduction:
        """The maps of all cards, by the function that the command calls."""
        paths = [inputs.photos[card.photo].path for card in result.cards]
        words, arguments = _layer_options(inputs)
        boxes = inputs.options.boxes_path
        if boxes is not None:
            words += ["--boxes", boxes]
            arguments += f", boxes=convlens.read_boxes({boxes!r}, model)"
        if inputs.options.classes is not None:
            words += inputs.reproducer.class_options(inputs.options.classes)
            arguments += f", classes={inputs.options.classes}"
        else:
            top = min(CLASSES_SHOWN, inputs.trace.num_outputs)
            words += ["--top", f"{top}"]
            arguments += f", top={top}"
        command = inputs.reproducer.command("gradcam", ["gradcam", *paths, *words])
        lines = f"result = convlens.gradcams(model, {paths}, out='gradcam'{arguments})\nresult"
        return Reproduction(command, inputs.reproducer.python(lines))

    def tiles(self, inputs: Inputs, result: PhotoCards) -> Iterator[Tile]:
        """Answers, robustness and explanation."""
        return make_photo_tiles(inputs, result)

    def thumbnail(self, inputs: Inputs, result: PhotoCards, address: str) -> Thumbnail | None:
        """The photo, its first map, or the image that flips its prediction."""
        return make_photo_thumbnail(inputs, result, address)

    def view(self, inputs: Inputs, result: PhotoCards, pictures: PictureBudget) -> dict[str, Any]:
        """Photos and maps before the larger files of the flips and the other ways to show maps."""
        bounds = inputs.model.bounds
        plain = [pictures.photo(to_pixels(card.image, bounds)[0]) for card in result.cards]
        first = draw_first_maps(result, pictures)
        flips = [_draw_flip(card, pictures) for card in result.cards]
        layers = [draw_layers(card, pictures) for card in result.cards]
        choices = draw_other_maps(result, first, pictures)
        views = {
            card.photo: _CardView(
                number=card.photo + 1,
                id=f"photo-{card.photo + 1}",
                at=f"cards.{index}",
                card=card,
                traits=_traits(inputs.photos[card.photo], card),
                plain=plain[index],
                maps=choices.cards[index],
                layers=layers[index],
                patches=_draw_patches(inputs, card, pictures),
                flip=flips[index][0],
                change=flips[index][1],
                factor=_magnification(card),
                curves=_curves(card.evidence) if card.evidence else [],
                reproduce_gradcam=_reproduce_gradcam(inputs, card) if card.gradcam else None,
                reproduce_flip=_reproduce_flip(inputs, card) if card.flip else None,
            )
            for index, card in enumerate(result.cards)
        }
        traits = Counter(trait for view in views.values() for trait in view.traits)
        return {
            "cards": [views[number] for number in inputs.shown_wrong_first],
            "by_photo": {card.photo: index for index, card in enumerate(result.cards)},
            "cam": next((card.gradcam for card in result.cards if card.gradcam), None),
            "choices": choices,
            "filters": [
                (trait, f"{traits[trait]} {label}")
                for trait, label in _FILTERS
                if 0 < traits[trait] < len(views)
            ],
            "addresses": inputs.addresses,
            "stops": {"signed": scales.overlaid(), "positive": scales.overlaid(positive=True)},
        }


def _common_scale(gradcams: Sequence[GradCam | None]) -> float | None:
    return max((cam.scale for cam in gradcams if cam is not None), default=None)


def _traits(photo: ReportPhoto, card: PhotoCard) -> list[str]:
    """The words of `_FILTERS` that hold for a photo."""
    traits = []
    if photo.right is not None:
        traits.append("right" if photo.right else "wrong")
    if card.flip is not None and card.flip.flipped:
        traits.append("flips")
    if card.evidence is not None:
        both = bool(card.evidence.deletion_beats[0] and card.evidence.insertion_beats[0])
        traits.append("map-holds" if both else "map-fails")
    return traits


def _draw_patches(
    inputs: Inputs, card: PhotoCard, pictures: PictureBudget
) -> dict[str, Picture | None]:
    """For the channels that add most to the maps, the patch that activates each most."""
    channels = inputs.result("channels", Channels)
    patches: dict[str, Picture | None] = {}
    for share in (share for shares in card.shares for share in shares):
        patch = CHANNELS.thumbnail(inputs, channels, share.address) if channels else None
        if patch is not None and share.address not in patches:
            patches[share.address] = pictures.thumbnail(patch.pixels, _PATCH_SIDE)
    return patches


def _magnification(card: PhotoCard) -> int:
    """How many times the change is magnified."""
    return max(1, _STRONGEST // max(card.flip.level, 1)) if card.flip is not None else 1


def _draw_flip(card: PhotoCard, pictures: PictureBudget) -> tuple[Picture | None, Picture | None]:
    """The photo with the change, and the change magnified."""
    if card.flips is None or card.flip is None:
        return None, None
    flip = pictures.photo(card.flips.pixels[0], exact=True)
    magnified = card.flips.change[0] * _magnification(card) + 128
    return flip, pictures.photo(magnified.clamp(0, 255).to(torch.uint8), exact=True)


def _curves(evidence: DeletionInsertion) -> list[tuple[str, list[tuple[str, str]]]]:
    """The names and the lines of both curves, each line with its class in the stylesheet."""
    covered = evidence.covered.tolist()
    plots = []
    for name, lines in (("deletion", evidence.deletion[0]), ("insertion", evidence.insertion[0])):
        drawn = [
            (order, polyline(covered, line.tolist(), *CURVES))
            for order, line in zip(("map", "random", "center"), lines, strict=True)
        ]
        plots.append((name, drawn[::-1]))
    return plots


def _layer_options(inputs: Inputs) -> tuple[list[str], str]:
    """The layer as words of a command and as arguments in Python."""
    layer = inputs.options.layer
    return (["--layer", layer], f", layer={layer!r}") if layer else ([], "")


def _reproduce_gradcam(inputs: Inputs, card: PhotoCard) -> Reproduction:
    assert card.gradcam is not None
    cam, path = card.gradcam, inputs.photos[card.photo].path
    pairs = list(zip(cam.classes[0].tolist(), cam.subtracted[0].tolist(), strict=True))
    # In Python the indices; a difference is text.
    classes = [first if second < 0 else f"{first} - {second}" for first, second in pairs]
    options, arguments = _layer_options(inputs)
    name, addition = f"gradcam-photo-{card.photo + 1}", ""
    if card.evidence is not None:
        options.append("--deletion-insertion")
        addition = (
            f"evidence = convlens.deletion_insertion(model, result, seed={inputs.options.seed})\n"
            f"evidence.save({f'{name}-evidence'!r})"
        )
    return inputs.reproducer.reproduction(
        name,
        ["gradcam", path, *inputs.reproducer.class_options(classes), *options],
        f"convlens.gradcam(model, model.prepare({path!r}), classes={classes}{arguments})",
        addition=addition,
    )


def _reproduce_flip(inputs: Inputs, card: PhotoCard) -> Reproduction:
    assert card.flip is not None
    path, epsilon = inputs.photos[card.photo].path, f"{card.flip.level}/255"
    return inputs.reproducer.reproduction(
        f"flip-photo-{card.photo + 1}",
        ["fgsm", path, "--epsilons", epsilon],
        f"convlens.find_flip(model, attack, seed={inputs.options.seed})",
        preparation=f"attack = convlens.fgsm(model, model.prepare({path!r}), [{epsilon!r}])",
    )


SECTION = PhotosSection()
