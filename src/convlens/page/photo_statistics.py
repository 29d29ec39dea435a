"""What the photos of a report say together: right answers, flips, and maps that hold."""

from collections.abc import Sequence
from dataclasses import dataclass

from convlens.analyses.gradcam.map_checks import MapChecks, count_map_checks
from convlens.page.photo_cards import PhotoCard, PhotoCards
from convlens.page.result import Mark, ReportPhoto
from convlens.passes.proportion import Proportion


@dataclass(frozen=True)
class RightAnswers:
    """How many labeled photos are classified as expected.

    Attributes:
        right: share of the labeled photos.
        wrong: numbers of the photos that are classified otherwise, the surest first.
    """

    right: Proportion
    wrong: list[int]

    @property
    def mark(self) -> Mark:
        """Broken where the interval lies below one half."""
        return "fine" if not self.wrong else "broken" if self.right.high < 0.5 else "look"


@dataclass(frozen=True)
class Flips:
    """How many predictions FGSM changes at one level.

    Attributes:
        level: the smallest tested level that changes at least half of the predictions, else the
            highest tested; in gray levels.
        flipped: share of the photos whose prediction FGSM changes at this level.
        noise: share of the photos whose prediction random signs of this size change.
        examples: numbers of the photos whose prediction changes: those that become wrong before
            those with another right class, the smallest change first.
    """

    level: int
    flipped: Proportion
    noise: Proportion
    examples: list[int]

    @property
    def mark(self) -> Mark:
        """Broken where random signs change the predictions as well."""
        if not self.flipped.count:
            return "fine"
        return "broken" if 2 * self.noise.count >= self.noise.total else "look"


def count_answers(photos: Sequence[ReportPhoto]) -> RightAnswers | None:
    """How many labeled photos are classified as expected; None without labels."""
    labeled = [number for number, photo in enumerate(photos) if photo.right is not None]
    if not labeled:
        return None
    wrong = [number for number in labeled if not photos[number].right]
    wrong.sort(key=lambda number: -photos[number].probabilities[0])
    return RightAnswers(Proportion.from_counts(len(labeled) - len(wrong), len(labeled)), wrong)


def count_flips(result: PhotoCards, photos: Sequence[ReportPhoto]) -> Flips | None:
    """How many predictions FGSM changes; None where no photo was attacked."""
    attacked = [(card, card.flips) for card in result.cards if card.flips is not None]
    if not attacked:
        return None
    count, levels = len(attacked), attacked[0][1].levels
    flipped = [
        [card for card, flip in attacked
         if flip.predictions[at, 0] != flip.original_predictions[0]]
        for at in range(len(levels))
    ]  # fmt: skip
    noise = [sum(int(flip.noise_flipped[at, 0]) for _, flip in attacked)
             for at in range(len(levels))]  # fmt: skip
    halves = (at for at, cards in enumerate(flipped) if 2 * len(cards) >= count)
    at = next(halves, len(levels) - 1)
    examples = sorted(flipped[at], key=lambda card: _flip_order(card, photos[card.photo]))
    return Flips(
        level=levels[at],
        flipped=Proportion.from_counts(len(flipped[at]), count),
        noise=Proportion.from_counts(noise[at], count),
        examples=[card.photo for card in examples],
    )


def check_maps(result: PhotoCards) -> MapChecks | None:
    """On how many photos the map beats the controls; None where no map was tested."""
    curves = {card.photo: card.evidence for card in result.cards if card.evidence is not None}
    return count_map_checks(curves) if curves else None


def _flip_order(card: PhotoCard, photo: ReportPhoto) -> tuple[bool, int, float]:
    """Wrong predictions first, then the smallest change, and of equal ones the surest."""
    flip = card.flip
    if flip is None:
        return True, 256, 0.0
    return flip.name in photo.expected_names, flip.level, -flip.confidence
