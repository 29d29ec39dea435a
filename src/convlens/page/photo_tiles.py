"""The tiles on photos (answers, robustness and explanation), and thumbnails of photos."""

import re
from collections.abc import Iterator, Sequence
from statistics import median

from convlens.data.images import to_pixels
from convlens.page.inputs import Inputs
from convlens.page.photo_cards import PhotoCards
from convlens.page.photo_statistics import check_maps, count_answers, count_flips
from convlens.page.result import Tile
from convlens.page.section import Thumbnail
from convlens.wording import counted, percent


def make_photo_tiles(inputs: Inputs, result: PhotoCards) -> Iterator[Tile]:
    """The tiles on the photos of a report.

    Args:
        inputs: inputs of the report.
        result: the cards of the photos that are shown in full.
    """
    if inputs.subject.per_pixel:
        yield _segmentation(inputs)
    elif inputs.predictions_failure is None:
        yield _answers(inputs)
    yield from _robustness(inputs, result)
    yield from _explanation(result)


def photo_addresses(numbers: Sequence[int], part: str = "") -> tuple[str, ...]:
    """Addresses of photos on the page.

    Args:
        numbers: their numbers, from 0.
        part: "plain", "map" or "flip" for one picture of the card; default: the whole card.
    """
    return tuple(f"photo-{number + 1}" + (f"-{part}" if part else "") for number in numbers)


def make_photo_thumbnail(inputs: Inputs, result: PhotoCards, address: str) -> Thumbnail | None:
    """The picture at an address of `photo_addresses`; None for any other address.

    Args:
        inputs: inputs of the report.
        result: the cards of the photos that are shown in full.
        address: address on the page.
    """
    match = re.fullmatch(r"photo-(\d+)(?:-(plain|map|flip))?", address)
    number = int(match[1]) - 1 if match else -1
    card = next((card for card in result.cards if card.photo == number), None)
    if match is None or card is None:
        return None
    name = inputs.photos[number].name
    if match[2] == "map":
        if card.gradcam is None:
            return None
        pixels = card.gradcam.select_image(0, top=1).overlays()[0, 0]
        return Thumbnail(pixels, f"map of {name}")
    if match[2] == "flip":
        if card.flips is None or card.flip is None:
            return None
        return Thumbnail(card.flips.pixels[0], f"{name} read as {card.flip.name}")
    return Thumbnail(to_pixels(card.image, inputs.model.bounds)[0], name)


def _segmentation(inputs: Inputs) -> Tile:
    classes, *sides = inputs.subject.output
    return Tile(
        "Answers", "look", "a class per pixel",
        f"One of {classes:,} classes for each of {' × '.join(map(str, sides))} positions. "
        f"There is no prediction for the whole photo.",
        "photos", rank=0, examples=photo_addresses(inputs.shown[:1], "map"),
    )  # fmt: skip


def _answers(inputs: Inputs) -> Tile:
    photos = inputs.photos
    answers = count_answers(photos)
    if answers is None:
        first = [photo.probabilities[0] for photo in photos]
        least = sorted(inputs.shown, key=lambda number: first[number])[:1]
        return Tile(
            "Answers", "look", f"no labels for {counted(len(photos), 'photo')}",
            f"The highest class has a probability of {percent(median(first))} in the median.",
            "photos", rank=0, examples=photo_addresses(least, "plain"),
        )  # fmt: skip
    if not answers.wrong:
        sentence = f"All {answers.right.total} labeled photos are classified as expected."
        least = sorted(inputs.shown, key=lambda number: photos[number].probabilities[0])[:1]
        shown = least
    else:
        photo = photos[answers.wrong[0]]
        sentence = f"Wrong: {photo.name} is read as {photo.names[0]}."
        shown = [number for number in answers.wrong if number in inputs.images][:1]
    return Tile(
        "Answers", answers.mark, f"{answers.right.count} of {answers.right.total} right",
        sentence, "photos", rank=0, proportion=answers.right,
        examples=photo_addresses(shown, "plain"),
    )  # fmt: skip


def _robustness(inputs: Inputs, result: PhotoCards) -> Iterator[Tile]:
    flips = count_flips(result, inputs.photos)
    if flips is None:
        return
    size = counted(flips.level, "gray level")
    sentence = f"FGSM of {size} changes none."
    if flips.examples:
        number = flips.examples[0]
        flip = next(card.flip for card in result.cards if card.photo == number)
        before = inputs.photos[number].names[0]
        sentence = f"FGSM of {size} turns {before} into {flip.name if flip else ''}."
    verb = "changes" if flips.flipped.count == 1 else "change"
    yield Tile(
        "Robustness", flips.mark, f"{flips.flipped.count} of {flips.flipped.total} {verb}",
        f"{sentence} Random changes of that size change {flips.noise.count} of "
        f"{flips.noise.total}.",
        "photos", rank=2, proportion=flips.flipped,
        examples=photo_addresses((flips.examples or inputs.shown)[:1], "flip"),
    )  # fmt: skip


def _explanation(result: PhotoCards) -> Iterator[Tile]:
    checks = check_maps(result)
    if checks is None:
        return
    verb = "holds" if checks.both.count == 1 else "hold"
    yield Tile(
        "Explanation", checks.mark, f"{checks.both.count} of {checks.both.total} {verb}",
        "Maps whose pixels the prediction depends on more than on random or central ones.",
        "photos", rank=3, proportion=checks.both,
        examples=photo_addresses((checks.failing or checks.holding)[:1], "map"),
    )  # fmt: skip
