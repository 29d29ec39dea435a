"""The result of the check of the preprocessing."""

from dataclasses import dataclass

from convlens.results import Result
from convlens.results.network_result import NetworkResult


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
    """

    name: str
    score: float
    accuracy: float | None
    gain: float
    p_value: float
    distinctness: float | None = None


@dataclass(frozen=True, eq=False)
class Diagnosis(NetworkResult):
    """Whether the preprocessing of photos looks right.

    Attributes:
        verdict: "fine", "mistake" or "cannot tell".
        summary: the finding in words.
        variants: the configured variant first, then the alternatives by descending score.
        photos: the number of photos that were examined.
        labeled: whether labels were used.
        skipped: a line for each photo that could not be read.
    """

    verdict: str
    summary: str
    variants: tuple[VariantScore, ...]
    photos: int
    labeled: bool
    skipped: tuple[str, ...]
