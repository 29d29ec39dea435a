"""Whether another preprocessing is clearly better than the configured one."""

from collections.abc import Sequence

from torch import Tensor

from convlens.analyses.preprocessing_check.result import VariantScore
from convlens.analyses.preprocessing_check.scores import PhotoScores
from convlens.wording import counted, percent

_SMALLEST_GAIN = 0.1  # nats per photo; less is not worth a warning
_SMALLEST_CONFIDENCE_GAIN = 0.3  # the same without labels, where another resize may gain 0.2
_SIGNIFICANCE = 0.05  # of the corrected test
_CONFIDENCE_SIGNIFICANCE = 0.01  # the same without labels, where larger inputs make more confident
_DISTINCT = 0.3  # networks that know nothing rarely reach it; trained ones of two classes reach 0.5


def compare_variants(names: Sequence[str], scores: Sequence[PhotoScores]) -> list[VariantScore]:
    """Compare each variant with the first, which is the configured one.

    Args:
        names: the names of the variants.
        scores: the scores of the same photos with each variant.

    Returns:
        The configured variant first, then the others by descending score.
    """
    configured, *others = (
        _score_variant(name, photo_scores, scores[0].nats, len(names) - 1)
        for name, photo_scores in zip(names, scores, strict=True)
    )
    return [configured, *sorted(others, key=lambda variant: -variant.score)]


def conclude(variants: Sequence[VariantScore], photos: int, *, labeled: bool) -> tuple[str, str]:
    """The verdict and its reason.

    Args:
        variants: from `compare_variants`.
        photos: the number of photos.
        labeled: whether they were scored by labels.
    """
    configured, *others = variants
    least, significance = _limits(labeled=labeled)
    best = find_better(variants, labeled=labeled)
    if best is not None:
        return "mistake", (
            f"the preprocessing looks wrong: with {best.name!r} "
            f"{_describe_improvement(configured, best, photos)}; now {configured.name}"
        )
    better = _list_better(variants, labeled=labeled)
    if better and labeled:
        return "cannot tell", (
            f"with {better[0].name!r} the right classes are {better[0].gain:.2f} nats more "
            f"probable on {counted(photos, 'photo')}, but hardly more than by guessing: the "
            f"network does not know these classes"
        )
    if better:
        return "cannot tell", (
            f"with {better[0].name!r} predictions are {better[0].gain:.2f} nats more confident, "
            f"but nearly the same for all {counted(photos, 'photo')}, which is no evidence; give "
            f"labels"
        )
    if _smallest_p_value(photos, len(others)) >= significance:
        return "cannot tell", (
            f"too few photos to judge the preprocessing: {photos}; give at least "
            f"{_enough_photos(len(others), significance)}"
        )
    # Without labels a variant may gain much and yet not be significant at the stricter limit.
    doubtful = [
        variant for variant in others if variant.gain >= least and variant.p_value < _SIGNIFICANCE
    ]
    if doubtful:
        return "cannot tell", (
            f"with {doubtful[0].name!r} predictions are {doubtful[0].gain:.2f} nats more confident "
            f"on {counted(photos, 'photo')}, which may be chance (p = {doubtful[0].p_value:.2f}); "
            f"give labels or more photos"
        )
    basis = "labels" if labeled else "the network's own confidence"
    return "fine", (
        f"the preprocessing looks right: none of {len(others)} other variants does clearly "
        f"better on {counted(photos, 'photo')}, by {basis}"
    )


def _describe_improvement(configured: VariantScore, best: VariantScore, photos: int) -> str:
    if best.accuracy is not None and configured.accuracy is not None:
        return (
            f"{percent(best.accuracy)} of {counted(photos, 'photo')} are classified correctly "
            f"instead of {percent(configured.accuracy)}"
        )
    return (
        f"predictions are {best.gain:.2f} nats more confident, as stable, and different for "
        f"different photos on {counted(photos, 'photo')}"
    )


def find_better(variants: Sequence[VariantScore], *, labeled: bool) -> VariantScore | None:
    """The variant that is clearly better than the configured one; None if there is none.

    It need not be the one with the greatest gain, which may be due to a few photos.

    Args:
        variants: from `compare_variants`.
        labeled: whether the photos were scored by labels.
    """
    better = _list_better(variants, labeled=labeled)
    return next((variant for variant in better if _is_informative(variant, labeled=labeled)), None)


def _list_better(variants: Sequence[VariantScore], *, labeled: bool) -> list[VariantScore]:
    """The variants with a gain that is large enough and significant."""
    least, significance = _limits(labeled=labeled)
    return [
        variant
        for variant in variants[1:]
        if variant.gain >= least and variant.p_value < significance
    ]


def _limits(*, labeled: bool) -> tuple[float, float]:
    """The least gain, and the significance, of a variant that is clearly better."""
    if labeled:
        return _SMALLEST_GAIN, _SIGNIFICANCE
    return _SMALLEST_CONFIDENCE_GAIN, _CONFIDENCE_SIGNIFICANCE


def _is_informative(variant: VariantScore, *, labeled: bool) -> bool:
    """Whether the predictions with a variant are good enough for its gain to mean anything.

    A confident network that recognizes nothing gains much where it is less confident. With labels,
    predictions have to be better than a guess; without, they have to differ between photos.
    """
    if not labeled:
        return (variant.distinctness or 0.0) >= _DISTINCT
    return (variant.over_guessing or 0.0) >= _SMALLEST_GAIN and bool(variant.accuracy)


def _score_variant(
    name: str, scores: PhotoScores, configured: Tensor, alternatives: int
) -> VariantScore:
    """Score a variant by its photos' scores, compared with those of the configured variant."""
    gains = scores.nats - configured
    p_value = 1.0
    if bool((gains != 0).any()):
        from scipy.stats import wilcoxon  # takes a second to import

        test = wilcoxon(gains.numpy(), alternative="greater", method="auto")
        p_value = min(1.0, float(test.pvalue) * alternatives)
    score = float(scores.nats.mean())
    return VariantScore(
        name=name,
        score=score,
        accuracy=float(scores.correct.double().mean()) if scores.correct is not None else None,
        gain=float(gains.mean()),
        p_value=p_value,
        distinctness=scores.distinctness,
        over_guessing=score - scores.guessed if scores.guessed is not None else None,
    )


def _smallest_p_value(photos: int, alternatives: int) -> float:
    """The smallest corrected p that the signed-rank test can give with so few photos."""
    return 2.0**-photos * alternatives


def _enough_photos(alternatives: int, significance: float) -> int:
    photos = 1
    while _smallest_p_value(photos, alternatives) >= significance:
        photos += 1
    return photos
