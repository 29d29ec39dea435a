"""Check the preprocessing of photos: would the network do better with another one?

The usual mistakes are tried on the user's own photos: another normalization, BGR, 0..255, squashing
or not resizing. A variant is better if the network gives the right class a higher probability.
Without labels, a variant is better if the network gives one and the same class a high probability
for a photo and for its mirror image, and its predictions tell the photos apart (`distinctness.py`);
a network that is merely overconfident does not. A network that ends in a sigmoid predicts each
class by itself: without labels, what counts is that it predicts the same of all classes for both.

A network with untrained weights is named as such, because no preprocessing is right for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.predictions.predictions import compute_logits
from convlens.analyses.preprocessing_check.distinctness import distinctness
from convlens.analyses.preprocessing_check.variants import list_variants, prepare_variants
from convlens.analyses.weights_check.weights_check import check_weights
from convlens.data.datasets.pictures import list_photos
from convlens.errors import ConvlensError
from convlens.models.labels import NEGATIVE, PhotoLabels
from convlens.models.model import ImagesLike, Model, check_model
from convlens.models.output_head import (
    SIGMOID,
    log_probabilities,
    lowest_prediction,
    predicted_classes,
)
from convlens.results import Result
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import counted

Progress = Callable[[int, int], None]

_SMALLEST_GAIN = 0.1  # nats per photo; less is not worth a warning
_SMALLEST_CONFIDENCE_GAIN = 0.3  # the same without labels, where another resize may gain 0.2
_SIGNIFICANCE = 0.05  # of the corrected test
_DISTINCT = 0.3  # networks that know nothing stay below 0.25, trained ones are above 0.8
_BATCH_SIZE = 32


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
class Diagnosis(Result):
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


def check_preprocessing(
    model: Model,
    photos: ImagesLike,
    *,
    labels: PhotoLabels | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Diagnosis:
    """Compare the configured preprocessing of photos with the usual mistakes.

    A variant is clearly better if it gains at least 0.1 nats per photo and the gain is significant
    at 5 % after correction for the number of alternatives. Without labels, it has to gain at least
    0.3 nats, and its predictions have to tell the photos apart, with a distinctness of at least
    0.3. The verdict on a network whose weights look untrained (`check_weights`) is "cannot tell".

    Args:
        model: the model; left untouched.
        photos: photos as `Model.prepare` takes them; or images `(N, C, H, W)`, for which other
            resizes are not tried.
        labels: for each photo the indices of the classes that are right, or None to leave the
            photo out. Default: no labels.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        progress: called with the number of variants that are done and how many there are; default:
            not called.

    Returns:
        The verdict, and the score of every variant.

    Raises:
        ConvlensError: if there are no photos, or the model cannot take them.
        PhotoError: if a photo cannot be read, with `strict`.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> diagnosis = convlens.check_preprocessing(model, torch.rand(4, 3, 8, 8))
        >>> diagnosis.verdict, diagnosis.variants[0].name
        ('cannot tell', 'as configured: 0..1, nothing subtracted')
    """
    check_model(model)
    photos = model.to_images(photos) if isinstance(photos, Tensor) else list_photos(photos)
    variants = list_variants(model, with_resizes=not isinstance(photos, Tensor))
    _check_labels(model, labels, len(photos))
    examined = [i for i in range(len(photos)) if labels is None or labels[i]]
    images, readable, skipped = prepare_variants(model, photos, examined, variants, strict=strict)
    if not readable:
        why = "none of them can be read" if skipped else "none of them has a label"
        raise ConvlensError(f"{len(photos)} photos to examine, but {why}")
    right = [list(labels[i] or ()) for i in readable] if labels is not None else None
    photo_scores: list[_PhotoScores] = []
    for number, variant in enumerate(variants):
        batch = images[variant.resize]
        if variant.reverse_channels:
            batch = batch.flip(1)
        photo_scores.append(_score_photos(variant.model, batch, right))
        if progress is not None:
            progress(number + 1, len(variants))
    scored = [
        _score_variant(variant.name, scores, photo_scores[0].nats, len(variants) - 1)
        for variant, scores in zip(variants, photo_scores, strict=True)
    ]
    configured = scored[0]
    others = sorted(scored[1:], key=lambda variant: -variant.score)
    weights = check_weights(model)
    if weights.untrained:
        verdict = "cannot tell"
        summary = f"{weights.summary()}; no preprocessing is right for such a network"
    else:
        verdict, summary = _conclude(configured, others, len(readable), labeled=right is not None)
    return Diagnosis(
        verdict=verdict,
        summary=summary,
        variants=(configured, *others),
        photos=len(readable),
        labeled=right is not None,
        skipped=tuple(skipped),
    )


def _check_labels(model: Model, labels: PhotoLabels | None, photos: int) -> None:
    if labels is None:
        return
    if len(labels) != photos:
        raise ConvlensError(f"{len(labels)} labels for {photos} photos; give one each, or None")
    trace = trace_network(model)
    classes, lowest = trace.num_outputs, lowest_prediction(trace.num_outputs, trace.output_head)
    wrong = [
        index for indices in labels for index in indices or () if not lowest <= index < classes
    ]
    if wrong:
        raise ConvlensError(
            f"class {wrong[0]} of {classes}; give an index of {lowest} to {classes - 1}"
        )


@dataclass(frozen=True)
class _PhotoScores:
    """How a network does with one variant.

    Attributes:
        nats: float64 `(N,)`, the score of each photo.
        correct: bool `(N,)`, whether the prediction is right; None without labels.
        distinctness: None with labels.
    """

    nats: Tensor
    correct: Tensor | None = None
    distinctness: float | None = None


def _score_photos(
    model: Model, images: Tensor, right: Sequence[Sequence[int]] | None
) -> _PhotoScores:
    """Score each photo by its labels, or without them by the network's confidence."""
    trace = trace_network(model, images)
    logits = _compute_logits(model, trace, images)
    if right is None:
        mirrored = _compute_logits(model, trace, images.flip(3))
        return _PhotoScores(
            _stable_confidence(logits, mirrored, trace.output_head),
            distinctness=distinctness(logits, mirrored, trace.output_head),
        )
    scores = torch.stack(
        [
            _log_probability(row, classes, trace.output_head)
            for row, classes in zip(logits, right, strict=True)
        ]
    )
    predictions = predicted_classes(logits, trace.output_head).tolist()
    correct = [
        prediction in classes for prediction, classes in zip(predictions, right, strict=True)
    ]
    return _PhotoScores(scores, torch.tensor(correct, dtype=torch.bool))


def _compute_logits(model: Model, trace: Trace, images: Tensor) -> Tensor:
    """Logits, float64 `(N, classes)`."""
    parts = [compute_logits(model, trace, part) for part in images.split(_BATCH_SIZE)]
    return torch.cat(parts).cpu().double()


def _stable_confidence(logits: Tensor, mirrored: Tensor, output_head: str) -> Tensor:
    """How confident the network is of one prediction for photo and mirror image, nats `(N,)`."""
    yes = (log_probabilities(logits, output_head) + log_probabilities(mirrored, output_head)) / 2
    if output_head != SIGMOID:
        return yes.amax(dim=1)
    no = (log_probabilities(-logits, output_head) + log_probabilities(-mirrored, output_head)) / 2
    return torch.maximum(yes, no).sum(dim=1)


def _log_probability(logits: Tensor, right: Sequence[int], output_head: str) -> Tensor:
    """The log probability of a photo's right classes, in nats.

    Probabilities of classes that exclude each other are added; of others the highest counts.
    """
    if output_head != SIGMOID:
        return log_probabilities(logits, output_head, dim=0)[list(right)].logsumexp(0)
    own = logits[[max(index, 0) for index in right]]
    signs = torch.tensor([-1.0 if index == NEGATIVE else 1.0 for index in right]).to(own)
    return log_probabilities(own * signs, output_head).amax()


def _score_variant(
    name: str, scores: _PhotoScores, configured: Tensor, alternatives: int
) -> VariantScore:
    """Score a variant by its photos' scores, compared with those of the configured variant."""
    gains = scores.nats - configured
    p_value = 1.0
    if bool((gains != 0).any()):
        from scipy.stats import wilcoxon  # takes a second to import

        test = wilcoxon(gains.numpy(), alternative="greater", method="auto")
        p_value = min(1.0, float(test.pvalue) * alternatives)
    return VariantScore(
        name=name,
        score=float(scores.nats.mean()),
        accuracy=float(scores.correct.double().mean()) if scores.correct is not None else None,
        gain=float(gains.mean()),
        p_value=p_value,
        distinctness=scores.distinctness,
    )


def _conclude(
    configured: VariantScore, others: Sequence[VariantScore], photos: int, *, labeled: bool
) -> tuple[str, str]:
    """The verdict and its summary."""
    least = _SMALLEST_GAIN if labeled else _SMALLEST_CONFIDENCE_GAIN
    better = [
        variant for variant in others if variant.gain >= least and variant.p_value < _SIGNIFICANCE
    ]
    # With labels, no further evidence is needed.
    distinct = [variant for variant in better if (variant.distinctness or 0.0) >= _DISTINCT]
    supported = better if labeled else distinct
    if supported:
        best = supported[0]
        if labeled:
            improvement = (
                f"{best.accuracy:.0%} of {counted(photos, 'photo')} are classified correctly "
                f"instead of {configured.accuracy:.0%}"
            )
        else:
            improvement = (
                f"predictions are {best.gain:.2f} nats more confident, as stable, and different "
                f"for different photos on {counted(photos, 'photo')}"
            )
        return "mistake", (
            f"the preprocessing looks wrong: with {best.name!r} {improvement}; now "
            f"{configured.name}"
        )
    if better:
        return "cannot tell", (
            f"with {better[0].name!r} predictions are {better[0].gain:.2f} nats more confident, "
            f"but nearly the same for all {counted(photos, 'photo')}, which is no evidence; give "
            f"labels"
        )
    if _smallest_p_value(photos, len(others)) >= _SIGNIFICANCE:
        return "cannot tell", (
            f"too few photos to judge the preprocessing: {photos}; give at least "
            f"{_enough_photos(len(others))}"
        )
    basis = "labels" if labeled else "the network's own confidence"
    return "fine", (
        f"the preprocessing looks right: none of {len(others)} other variants does clearly "
        f"better on {counted(photos, 'photo')}, by {basis}"
    )


def _smallest_p_value(photos: int, alternatives: int) -> float:
    """The smallest corrected p that the signed-rank test can give with so few photos."""
    return 2.0**-photos * alternatives


def _enough_photos(alternatives: int) -> int:
    photos = 1
    while _smallest_p_value(photos, alternatives) >= _SIGNIFICANCE:
        photos += 1
    return photos
