"""The findings on photos: what is predicted, what flips it, and whether the maps can be trusted."""

from collections.abc import Iterator
from statistics import median

from convlens.analyses.gradcam.pointing_game import PointingTotals
from convlens.page.inputs import Inputs
from convlens.page.photo_cards import PhotoCards
from convlens.page.photo_statistics import check_maps, count_answers, count_flips
from convlens.page.photo_tiles import photo_addresses
from convlens.page.result import Finding
from convlens.passes.proportion import Proportion
from convlens.wording import capitalized, counted, enumerated, interval, percent


def find_photo_findings(inputs: Inputs, result: PhotoCards) -> Iterator[Finding]:
    """The findings on the photos of a report.

    Args:
        inputs: inputs of the report.
        result: the cards of the photos that are shown in full.
    """
    yield from _find_predictions(inputs)
    yield from _find_flips(inputs, result)
    yield from _find_evidence(result)
    yield from _find_maps(inputs, result)
    yield from _find_pointing(result)


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
    answers = count_answers(photos)
    if answers is None:
        yield _find_confidence(inputs)
        return
    wrong = [photos[number] for number in answers.wrong]
    named = enumerated(
        [f"{photo.name} ({photo.names[0]}, not {' or '.join(photo.expected_names)})"
         for photo in wrong],
        most=3,
    )  # fmt: skip
    sentence = f"Classified as expected: {_photos(answers.right)}"
    sentence += f"; wrong: {named}." if wrong else "."
    shown = [number for number in answers.wrong if number in inputs.images]
    yield Finding(
        answers.mark, sentence, "photos", rank=1, examples=photo_addresses(shown, "plain")
    )


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
    flips = count_flips(result, inputs.photos)
    if flips is None:
        reason = inputs.stages.failures.get("photos/flips")
        if reason not in (None, inputs.predictions_failure):
            yield Finding("broken", f"No attack: {reason}.", "photos", rank=3)
        return
    size = counted(flips.level, "gray level")
    count = flips.flipped.total
    control = f"Random changes of the same size change {flips.noise.count} of {count}."
    if not flips.examples:
        sentence = (
            f"Changing every pixel by up to {size} (FGSM) changes none of "
            f"{counted(count, 'prediction')} ({_interval(flips.flipped)})."
        )
        yield Finding(flips.mark, f"{sentence} {control}", "photos", rank=3)
        return
    sentence = (
        f"Changing every pixel by {size} (FGSM) changes {flips.flipped.count} of "
        f"{counted(count, 'prediction')} ({_interval(flips.flipped)})."
    )
    yield Finding(
        flips.mark, f"{sentence} {control}", "photos", rank=3,
        examples=photo_addresses(flips.examples, "flip"),
    )  # fmt: skip


def _find_evidence(result: PhotoCards) -> Iterator[Finding]:
    checks = check_maps(result)
    if checks is None:
        return
    total = checks.both.total
    sentence = (
        f"{checks.describe('map')}. {checks.deletion.count} of {total} pass deletion, "
        f"{checks.insertion.count} insertion."
    )
    yield Finding(
        checks.mark, sentence, "photos", rank=5, examples=photo_addresses(checks.failing, "map")
    )


def _find_maps(inputs: Inputs, result: PhotoCards) -> Iterator[Finding]:
    cards = [card for card in result.cards if card.gradcam is not None]
    if not cards or cards[0].gradcam is None:
        reason = inputs.stages.failures.get("photos/gradcam")
        if reason not in (None, inputs.predictions_failure):
            yield Finding("look", f"No Grad-CAM: {reason}.", "photos", rank=6)
        return
    cam = cards[0].gradcam
    positive = [card for card in cards if card.statistics[0].maximum > 0]
    empty = [card.photo for card in cards if card.statistics[0].maximum <= 0]
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
    at_border = [card.photo for card in positive if card.statistics[0].at_border]
    yield Finding(
        "look" if doubtful else "fine", f"{sentence}.", "photos", rank=6,
        examples=photo_addresses([*empty, *at_border], "map") if doubtful else (),
    )  # fmt: skip


def _find_pointing(result: PhotoCards) -> Iterator[Finding]:
    games = [card.pointing for card in result.cards if card.pointing is not None]
    if not games:
        return
    totals = PointingTotals.sum_of(game.totals() for game in games)
    good = 2 * totals.hits > totals.maps and totals.hits >= totals.center_hits
    sentence = capitalized(totals.summary())
    yield Finding("fine" if good else "look", f"{sentence}.", "photos", rank=6)


def _photos(share: Proportion) -> str:
    """How many photos of how many, with the interval."""
    return f"{share.count} of {counted(share.total, 'photo')} ({_interval(share)})"


def _interval(share: Proportion) -> str:
    return interval(share.low, share.high)
