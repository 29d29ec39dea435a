"""The section on photos: predictions, Grad-CAM with its checks, and the smallest flip of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from convlens.analyses.attacks.fgsm import Fgsm, fgsm
from convlens.analyses.attacks.flip import Flip, find_flip
from convlens.analyses.gradcam.boxes import boxes_on_image
from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion, deletion_insertion
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.gradcam.pointing_game import PointingGame, PointingTotals, pointing_game
from convlens.analyses.gradcam.result import ChannelShare, GradCam, MapStatistics
from convlens.data.images import to_pixels
from convlens.drawing import draw_boxes
from convlens.html import scales
from convlens.html.charts import polyline
from convlens.html.numbers import percent
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.page.budget import CLASSES, Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Mark, Reproduction
from convlens.page.section import Section
from convlens.results import Result
from convlens.wording import capitalized, counted, enumerated

SHARES = 3  # channels that are named beneath a map
CURVES = (104, 44)  # width and height of the curves of deletion and insertion
_STRONGEST = 127  # gray levels of the magnified change


@dataclass(frozen=True, eq=False)
class FlipSummary(Result):
    """The flip of one photo, at the level that the page shows.

    Attributes:
        level: the smallest that changed the prediction, or the highest tested where none did.
        flipped: the prediction changed.
        name: name of the prediction for the PNG at that level.
        confidence: its probability.
        noise_name: name of the prediction under random signs of that size.
        noise_flipped: whether that is another prediction than for the photo.
        largest: greatest change as measured on the file, in gray levels.
        reverted: a higher level gave the first prediction again.
        zero_gradients: share of the pixel values whose gradient is exactly 0.
    """

    level: int
    flipped: bool
    name: str
    confidence: float
    noise_name: str
    noise_flipped: bool
    largest: int
    reverted: bool
    zero_gradients: float


@dataclass(frozen=True, eq=False)
class PhotoCard(Result):
    """One photo in full. What could not be computed is None, or empty.

    Attributes:
        photo: its number among the photos of the report, from 0.
        image: float32 `(1, C, H, W)`.
        gradcam: maps of its classes.
        statistics: statistics of these maps, in the same order.
        shares: for each map the channels that add most to it.
        evidence: deletion and insertion for the first map.
        boxes: left, top, right, bottom of the objects on the image, in its pixels.
        pointing: whether the maps point at these.
        attack: FGSM against the network's own prediction.
        flips: the levels of the attack that change the prediction.
        flip: the level that is shown.
    """

    photo: int
    image: Tensor
    gradcam: GradCam | None = None
    statistics: tuple[MapStatistics, ...] = ()
    shares: tuple[tuple[ChannelShare, ...], ...] = ()
    evidence: DeletionInsertion | None = None
    boxes: tuple[tuple[float, ...], ...] = ()
    pointing: PointingGame | None = None
    attack: Fgsm | None = None
    flips: Flip | None = None
    flip: FlipSummary | None = None


@dataclass(frozen=True, eq=False)
class PhotoCards(Result):
    """The photos that are shown in full.

    Attributes:
        cards: cards in the order of the photos.
        scale: greatest absolute value of all Grad-CAM maps, their common scale, or None.
    """

    cards: tuple[PhotoCard, ...]
    scale: float | None


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
            cards.append(_card(inputs, number, image))
            inputs.stages.report("photos", done, len(inputs.images))
        measured = [card.gradcam.scale for card in cards if card.gradcam is not None]
        return PhotoCards(tuple(cards), max(measured, default=None))

    def findings(self, inputs: Inputs, result: PhotoCards) -> Iterator[Finding]:
        """What is predicted, what flips it, and whether the maps can be trusted."""
        yield from _find_predictions(inputs)
        yield from _find_flips(inputs, result)
        yield from _find_evidence(result)
        yield from _find_maps(inputs, result)
        yield from _find_pointing(result)

    def reproduction(self, inputs: Inputs, result: PhotoCards) -> Reproduction:
        """The maps of all cards."""
        photos = [inputs.photos[card.photo] for card in result.cards]
        words, arguments = _layer_options(inputs)
        paths = [photo.path for photo in photos]
        return inputs.reproducer.reproduction(
            ["gradcam", *paths, *words],
            f"convlens.gradcam(model, model.prepare({paths}){arguments})",
        )

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


def _card(inputs: Inputs, number: int, image: Tensor) -> PhotoCard:
    model, options, stages = inputs.model, inputs.options, inputs.stages
    image = image.to(model.device)
    boxes = boxes_on_image(model, inputs.photos[number].path, options.boxes or {})
    maps, evidence, attack, flipped = None, None, None, None
    with stages.attempt("photos/gradcam"):
        objects = list(dict.fromkeys(box.classes[0] for box in boxes))[:CLASSES]
        maps = gradcam(
            model, image, classes=options.classes or objects or None,
            top=min(2, inputs.trace.num_outputs), layer=options.layer,
        )  # fmt: skip
    if maps is not None:
        with stages.attempt("photos/evidence"):
            evidence = deletion_insertion(model, maps, seed=options.seed)
    with stages.attempt("photos/flips"):
        attack = fgsm(model, image, score=False, seed=options.seed)
        flipped = find_flip(model, attack, seed=options.seed)
    ranks = range(maps.maps.shape[1]) if maps is not None else range(0)
    return PhotoCard(
        photo=number,
        image=image.cpu(),
        gradcam=maps,
        statistics=tuple(maps.statistics(0, rank) for rank in ranks) if maps else (),
        shares=tuple(maps.channel_shares(0, rank, top=SHARES) for rank in ranks) if maps else (),
        evidence=evidence,
        boxes=tuple(box.edges for box in boxes),
        pointing=pointing_game(maps, [boxes]) if maps and options.boxes is not None else None,
        attack=attack,
        flips=flipped,
        flip=_summarize_flip(model, attack, flipped) if attack and flipped else None,
    )


def _summarize_flip(model: Model, attack: Fgsm, flipped: Flip) -> FlipSummary:
    first = flipped.flip_levels[0]
    level = flipped.levels[-1] if first is None else first
    at = flipped.levels.index(level)
    return FlipSummary(
        level=level,
        flipped=first is not None,
        name=class_name(model.labels, int(flipped.predictions[at, 0])),
        confidence=float(flipped.confidences[at, 0]),
        noise_name=class_name(model.labels, int(flipped.noise_predictions[at, 0])),
        noise_flipped=bool(flipped.noise_flipped[at, 0]),
        largest=flipped.largest_changes[0],
        reverted=flipped.reverted[0],
        zero_gradients=float(attack.zero_gradients[0]),
    )


def _find_predictions(inputs: Inputs) -> Iterator[Finding]:
    subject, photos = inputs.subject, inputs.photos
    if subject.per_pixel:
        sides = " × ".join(map(str, subject.output))
        yield Finding(
            "look",
            f"The network predicts a class for each pixel ({sides}), not for the photo: Grad-CAM "
            f"explains a class by its mean logit over the pixels of that class. Analyses that need "
            f"one prediction for each photo (attacks, preprocessing, shifted photos) are left out.",
            "photos", rank=0,
        )  # fmt: skip
        return
    if subject.prediction_rule and not subject.final_activation:
        yield Finding("look", f"{capitalized(subject.prediction_rule)}.", "photos", rank=0)
    if inputs.predictions_failure is not None:
        yield Finding("broken", f"No predictions: {inputs.predictions_failure}.", "photos", rank=1)
        return
    labeled = [photo for photo in photos if photo.right is not None]
    if not labeled:
        yield _find_confidence(inputs)
        return
    wrong = [photo for photo in labeled if not photo.right]
    right, count = len(labeled) - len(wrong), len(labeled)
    named = enumerated(
        [f"{photo.name} ({photo.names[0]}, not {' or '.join(photo.expected_names)})"
         for photo in wrong]
    )  # fmt: skip
    mark: Mark = "fine" if not wrong else "look" if 2 * right >= count else "broken"
    sentence = f"Classified as expected: {right} of {counted(count, 'photo')}"
    sentence += f"; wrong: {named}." if wrong else "."
    yield Finding(mark, sentence, "photos", rank=1)


def _find_confidence(inputs: Inputs) -> Finding:
    first = sorted((photo.probabilities[0], photo.name) for photo in inputs.photos)
    middle = median(probability for probability, _ in first)
    (least, unsure), (most, sure) = first[0], first[-1]
    return Finding(
        "look",
        f"The highest class has a probability of {percent(middle)} in the median of "
        f"{counted(len(first), 'photo')}, from {percent(least)} ({unsure}) to {percent(most)} "
        f"({sure}). Without labels the page cannot tell which predictions are right.",
        "photos", rank=1,
    )  # fmt: skip


def _find_flips(inputs: Inputs, result: PhotoCards) -> Iterator[Finding]:
    attacked = [card.flips for card in result.cards if card.flips is not None]
    if not attacked:
        reason = inputs.stages.failures.get("photos/flips")
        if reason not in (None, inputs.predictions_failure):
            yield Finding("broken", f"No attack: {reason}.", "photos", rank=3)
        return
    count, levels = len(attacked), attacked[0].levels
    flipped = [
        sum(int(flip.predictions[at, 0] != flip.original_predictions[0]) for flip in attacked)
        for at in range(len(levels))
    ]
    noise = [sum(int(flip.noise_flipped[at, 0]) for flip in attacked) for at in range(len(levels))]
    at = next((at for at, flips in enumerate(flipped) if 2 * flips >= count), len(levels) - 1)
    size = counted(levels[at], "gray level")
    control = f"Random changes of the same size change {noise[at]} of {count}."
    if not any(flipped):
        sentence = (
            f"Changing every pixel by up to {size} (FGSM) changes none of "
            f"{counted(count, 'prediction')}."
        )
        yield Finding("fine", f"{sentence} {control}", "photos", rank=3)
        return
    mark: Mark = "broken" if 2 * noise[at] >= count else "look"
    sentence = (
        f"Changing every pixel by {size} (FGSM) changes {flipped[at]} of "
        f"{counted(count, 'prediction')}."
    )
    yield Finding(mark, f"{sentence} {control}", "photos", rank=3)


def _find_evidence(result: PhotoCards) -> Iterator[Finding]:
    checks = [card.evidence for card in result.cards if card.evidence is not None]
    if not checks:
        return
    deletion = sum(int(check.deletion_beats[0]) for check in checks)
    insertion = sum(int(check.insertion_beats[0]) for check in checks)
    count = len(checks)
    mark: Mark = "fine" if 2 * min(deletion, insertion) > count else "look"
    sentence = (
        f"For {deletion} of {counted(count, 'photo')} the map marks pixels that the prediction "
        f"depends on: covering them lowers the probability more than covering random or central "
        f"ones (deletion). For {insertion} of {count}, uncovering them raises it more (insertion)."
    )
    yield Finding(mark, sentence, "photos", rank=5)


def _find_maps(inputs: Inputs, result: PhotoCards) -> Iterator[Finding]:
    cards = [card for card in result.cards if card.gradcam is not None]
    if not cards or cards[0].gradcam is None:
        reason = inputs.stages.failures.get("photos/gradcam")
        if reason not in (None, inputs.predictions_failure):
            yield Finding("look", f"No Grad-CAM: {reason}.", "photos", rank=6)
        return
    cam = cards[0].gradcam
    positive = [card for card in cards if card.statistics[0].maximum > 0]
    border = sum(card.statistics[0].at_border for card in positive)
    rows, columns = cam.maps.shape[-2:]
    highest = inputs.options.classes is None and inputs.subject.output[0] > 1
    target = "the highest class" if highest else cam.names[0][0]
    sentence = (
        f"Grad-CAM at {', '.join(cam.nodes)} ({rows} × {columns} cells) has a cell that supports "
        f"{target} in {len(positive)} of {counted(len(cards), 'photo')}"
    )
    if min(rows, columns) > 2:
        sentence += f"; the strongest cell lies at the border in {border or 'none'} of them"
    doubtful = len(positive) < len(cards) or (min(rows, columns) > 2 and 2 * border > len(cards))
    yield Finding("look" if doubtful else "fine", f"{sentence}.", "photos", rank=6)


def _find_pointing(result: PhotoCards) -> Iterator[Finding]:
    games = [card.pointing for card in result.cards if card.pointing is not None]
    if not games:
        return
    totals = PointingTotals.sum_of(game.totals() for game in games)
    good = 2 * totals.hits > totals.maps and totals.hits >= totals.center_hits
    sentence = capitalized(totals.summary())
    yield Finding("fine" if good else "look", f"{sentence}.", "photos", rank=6)


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
    """The layer and the boxes as words of a command and as arguments in Python."""
    options = inputs.options
    words = ["--layer", str(options.layer)] if options.layer else []
    words += ["--boxes", str(options.boxes_path)] if options.boxes_path else []
    return words, f", layer={options.layer!r}" if options.layer else ""


def _reproduce_gradcam(inputs: Inputs, card: PhotoCard) -> Reproduction:
    assert card.gradcam is not None
    cam, path = card.gradcam, inputs.photos[card.photo].path
    pairs = list(zip(cam.classes[0].tolist(), cam.subtracted[0].tolist(), strict=True))
    # In Python the indices; a difference is text.
    classes = [first if second < 0 else f"{first} - {second}" for first, second in pairs]
    options, arguments = _layer_options(inputs)
    words = []
    for first, second in pairs:
        name = inputs.reproducer.class_words(first)
        other = "" if second < 0 else f" - {inputs.reproducer.class_words(second)}"
        words += ["--class", name + other]
    return inputs.reproducer.reproduction(
        ["gradcam", path, *words, *options],
        f"convlens.gradcam(model, model.prepare({path!r}), classes={classes}{arguments})",
    )


def _reproduce_flip(inputs: Inputs, card: PhotoCard) -> Reproduction:
    assert card.flip is not None
    path, epsilon = inputs.photos[card.photo].path, f"{card.flip.level}/255"
    return inputs.reproducer.reproduction(
        ["fgsm", path, "--epsilon", epsilon],
        f"attack = convlens.fgsm(model, model.prepare({path!r}), [{epsilon!r}])\n"
        f"convlens.find_flip(model, attack, seed={inputs.options.seed})",
    )


SECTION = PhotosSection()
