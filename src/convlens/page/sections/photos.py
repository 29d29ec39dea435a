"""The section on photos: predictions, Grad-CAM with its checks, and the smallest flip of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion
from convlens.data.images import to_pixels
from convlens.drawing import draw_boxes
from convlens.html import scales
from convlens.html.charts import polyline
from convlens.html.pictures import Picture, PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.photo_cards import CLASSES_SHOWN, PhotoCard, PhotoCards, make_card
from convlens.page.photo_findings import find_photo_findings
from convlens.page.result import Finding, Reproduction
from convlens.page.section import Section

CURVES = (104, 44)  # width and height of the curves of deletion and insertion
_STRONGEST = 127  # gray levels of the magnified change


@dataclass(frozen=True)
class _CardView:
    """What the page draws of one card; pictures that do not fit into the budget are None."""

    number: int
    id: str
    card: PhotoCard
    plain: Picture | None
    maps: list[Picture | None]
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
        measured = [card.gradcam.scale for card in cards if card.gradcam is not None]
        return PhotoCards(tuple(cards), max(measured, default=None))

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

    def view(self, inputs: Inputs, result: PhotoCards, pictures: PictureBudget) -> dict[str, Any]:
        """Photos and maps before the larger files of the flips."""
        bounds = inputs.model.bounds
        plain, maps = [], []
        for card in result.cards:
            plain.append(pictures.photo(to_pixels(card.image, bounds)[0]))
            drawn = card.gradcam.overlays(result.scale)[0] if card.gradcam else ()
            maps.append([pictures.photo(draw_boxes(pixels, card.boxes)) for pixels in drawn])
        cards = []
        for card, photo, overlays in zip(result.cards, plain, maps, strict=True):
            flip, change, factor = None, None, 1
            if card.flips is not None and card.flip is not None:
                factor = max(1, _STRONGEST // max(card.flip.level, 1))
                flip = pictures.photo(card.flips.pixels[0], exact=True)
                magnified = card.flips.change[0] * factor + 128
                change = pictures.photo(magnified.clamp(0, 255).to(torch.uint8), exact=True)
            cards.append(
                _CardView(
                    number=card.photo + 1,
                    id=f"photo-{card.photo + 1}",
                    card=card,
                    plain=photo,
                    maps=overlays,
                    flip=flip,
                    change=change,
                    factor=factor,
                    curves=_curves(card.evidence) if card.evidence else [],
                    reproduce_gradcam=_reproduce_gradcam(inputs, card) if card.gradcam else None,
                    reproduce_flip=_reproduce_flip(inputs, card) if card.flip else None,
                )
            )
        return {
            "cards": cards,
            "by_photo": {view.card.photo: index for index, view in enumerate(cards)},
            "cam": next((card.gradcam for card in result.cards if card.gradcam), None),
            "addresses": inputs.addresses,
            "scale": scales.overlaid(),
        }


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
    return inputs.reproducer.reproduction(
        f"gradcam-photo-{card.photo + 1}",
        ["gradcam", path, *inputs.reproducer.class_options(classes), *options],
        f"convlens.gradcam(model, model.prepare({path!r}), classes={classes}{arguments})",
    )


def _reproduce_flip(inputs: Inputs, card: PhotoCard) -> Reproduction:
    assert card.flip is not None
    path, epsilon = inputs.photos[card.photo].path, f"{card.flip.level}/255"
    return inputs.reproducer.reproduction(
        f"flip-photo-{card.photo + 1}",
        ["fgsm", path, "--epsilon", epsilon],
        f"convlens.find_flip(model, attack, seed={inputs.options.seed})",
        preparation=f"attack = convlens.fgsm(model, model.prepare({path!r}), [{epsilon!r}])",
    )


SECTION = PhotosSection()
