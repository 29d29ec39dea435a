"""The result of the check of the preprocessing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convlens.drawing import Bars, bar_figure
from convlens.errors import ConvlensError
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, percent, with_sign

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_BARS = 10  # alternatives in a figure


@dataclass(frozen=True, eq=False)
class VariantScore(Result):
    """A way to preprocess the photos, and how the network does with it.

    Attributes:
        name: what differs from the configured way.
        score: score in nats. With labels, the mean over photos of log p(right class); under a
            sigmoid, of the most probable right class. Without labels, the mean over photos of the
            highest log sqrt(p(class | photo) p(class | mirrored photo)); under a sigmoid, the sum
            of this over the classes, each for the class or for not the class.
        accuracy: the share of photos with a correct prediction, or None without labels.
        gain: the score minus that of the configured variant.
        p_value: p-value of a one-sided Wilcoxon signed-rank test of the gain over photos, times the
            number of alternatives (Bonferroni); 1 for the configured variant.
        distinctness: without labels, how much more alike the predictions are for a photo and its
            mirror image than for two photos, at most 1; None with labels.
        over_guessing: with labels, the score minus that of equal probabilities for all classes;
            None without labels.
    """

    name: str
    score: float
    accuracy: float | None
    gain: float
    p_value: float
    distinctness: float | None = None
    over_guessing: float | None = None


@dataclass(frozen=True, eq=False)
class Diagnosis(NetworkResult):
    """Whether the preprocessing of photos looks right.

    Attributes:
        verdict: "fine", "mistake" or "cannot tell".
        reason: why, in words.
        variants: the configured variant first, then the alternatives by descending score.
        better: the alternative that is clearly better, with the verdict "mistake"; else None. It
            need not have the highest score, whose gain may be due to a few photos.
        photos: the number of photos that were examined.
        labeled: whether labels were used.
        skipped: a line for each photo that could not be read.
    """

    verdict: str
    reason: str
    variants: tuple[VariantScore, ...]
    better: VariantScore | None
    photos: int
    labeled: bool
    skipped: tuple[str, ...]

    def summary(self) -> str:
        """The verdict and its reason, in words."""
        return f"{self.verdict}: {self.reason}"

    def table(self) -> Table:
        """The score of each variant, the configured one first."""
        return Table.of(
            ["preprocessing", "score in nats", "gain", "p", "accuracy"],
            [
                [
                    variant.name,
                    f"{variant.score:.3f}",
                    f"{variant.gain:+.3f}",
                    f"{variant.p_value:.2g}",
                    "" if variant.accuracy is None else percent(variant.accuracy),
                ]
                for variant in self.variants
            ],
        )

    def figure(self) -> "Figure":
        """The gain of each variant over the configured one, the best ones first.

        Raises:
            ConvlensError: no variant was tried.
        """
        if not self.variants:
            raise ConvlensError(self.summary())
        variants = self.variants[: _MOST_BARS + 1]
        bars = Bars(
            title=f"{counted(self.photos, 'photo')}: {self.verdict}",
            names=[variant.name for variant in variants],
            values=[variant.gain for variant in variants],
            labels=[
                "configured",
                *(with_sign(variant.gain) for variant in variants[1:]),
            ],
        )
        quantity = "log-probability of the right class" if self.labeled else "confidence"
        return bar_figure([bars], title=f"gain in {quantity}, nats per photo")
