"""The preprocessing doctor: would the network read these photos better if they were fed otherwise?

The usual mistakes are tried on the user's own photos: another normalization, BGR, 0..255, squashing
or not resizing. A reading is better if the network puts more probability on the right class; where
no labels are given, on one and the same class for a photo and its mirror image, which a network
that is merely overconfident does not do. A network that ends in a sigmoid says of each class
whether it is there: without labels what counts is that it says the same of all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from scipy.stats import wilcoxon
from torch import Tensor

from convlens.analyses.predictions.predictions import compute_logits
from convlens.data.datasets.photo_dataset import check_photo_list
from convlens.data.photo_decoder import PhotoLike
from convlens.data.photos import read_photo
from convlens.errors import ConvlensError, PhotoError
from convlens.models.model import Model, check_model
from convlens.models.output_head import (
    NEGATIVE,
    SIGMOID,
    log_probabilities,
    lowest_prediction,
    predicted_classes,
)
from convlens.results import Result
from convlens.tracing.trace import Trace, trace

Progress = Callable[[int, int], None]

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What the network is given for a pixel u of 0..1, as (mean, std) of the usual (u - mean) / std.
_NORMALISATIONS = {
    "0..1, nothing subtracted": ((0.0,) * 3, (1.0,) * 3),
    "ImageNet's mean and deviation": (_IMAGENET_MEAN, _IMAGENET_STD),
    "mean and deviation 0.5 (-1..1)": ((0.5,) * 3, (0.5,) * 3),
    "0..255, nothing subtracted": ((0.0,) * 3, (1 / 255,) * 3),
    "0..255, ImageNet's mean subtracted": (_IMAGENET_MEAN, (1 / 255,) * 3),
}
# The short side before the crop, as a multiple of the crop; None: squashed.
_RESIZES = {
    "squashed to size, nothing cropped": None,
    "short side as large as the crop": 1.0,
    "short side 8/7 of the crop": 8 / 7,
}
_LEAST_GAIN = 0.1  # nats a photo; less is not worth a warning
_LEVEL = 0.05  # of the corrected test


@dataclass(frozen=True, eq=False)
class Reading(Result):
    """One way to feed the photos, and how the network does with it.

    Attributes:
        name: what differs from the configured reading.
        score: mean over photos of log p(right class), or, without labels, of the greatest
            log sqrt(p(class | photo) p(class | mirrored photo)); in nats. Under a sigmoid, with
            labels, the most probable right class; without, this for class and not class, summed
            over the classes.
        accuracy: share of photos whose answer is right, or None without labels.
        gain: score minus that of the configured reading.
        p_value: one-sided Wilcoxon signed-rank test of the gain over photos, times the number of
            alternatives (Bonferroni); 1 for the configured reading.
    """

    name: str
    score: float
    accuracy: float | None
    gain: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Diagnosis(Result):
    """What the doctor found.

    Attributes:
        verdict: "fine", "mistake" or "cannot tell".
        summary: the finding in words.
        readings: the configured one first, then the alternatives, best score first.
        photos: how many photos were read.
        labeled: whether labels were used.
        skipped: a line for each photo that could not be read.
    """

    verdict: str
    summary: str
    readings: tuple[Reading, ...]
    photos: int
    labeled: bool
    skipped: tuple[str, ...]


def check_preprocessing(
    model: Model,
    photos: Sequence[PhotoLike] | Tensor,
    *,
    labels: Sequence[Sequence[int] | None] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Diagnosis:
    """Compare the configured reading of the photos with the usual mistakes.

    Another reading counts as clearly better if it gains at least 0.1 nats a photo and the gain is
    significant at 5 % after correction for the number of alternatives.

    Args:
        model: the model, left untouched.
        photos: paths or pictures; or images `(N, C, H, W)`, for which other resizes are not tried.
        labels: for each photo the indices of the classes that are right, or None; photos without
            are then left out. Default: no labels.
        strict: raise for a damaged photo, instead of leaving it out and naming it.
        progress: called with (readings done, of how many).

    Raises:
        ConvlensError: no photos, or photos that the model cannot take.
        PhotoError: a damaged photo, with `strict`.
    """
    check_model(model)
    check_photo_list(photos)
    ways = _ways(model, tensors=isinstance(photos, Tensor))
    _check_labels(model, labels, len(photos))
    chosen = [i for i in range(len(photos)) if labels is None or labels[i]]
    images, kept, skipped = _prepared(model, photos, chosen, ways, strict=strict)
    if not kept:
        why = "none of them can be read" if skipped else "none of them has a label"
        raise ConvlensError(f"{len(photos)} photos to examine, but {why}")
    truth = [list(labels[i] or ()) for i in kept] if labels is not None else None
    scores, rights = [], []
    for done, way in enumerate(ways):
        fed = images[way.resize].flip(1) if way.reversed else images[way.resize]
        score, right = _examine(way.model, fed, truth)
        scores.append(score)
        rights.append(right)
        if progress is not None:
            progress(done + 1, len(ways))
    judged = [
        _judge(way.name, score, right, scores[0], len(ways) - 1)
        for way, score, right in zip(ways, scores, rights, strict=True)
    ]
    configured, others = judged[0], sorted(judged[1:], key=lambda one: -one.score)
    verdict, sentence = _verdict(configured, others, len(kept), truth is not None)
    return Diagnosis(
        verdict=verdict,
        summary=sentence,
        readings=(configured, *others),
        photos=len(kept),
        labeled=truth is not None,
        skipped=tuple(skipped),
    )


def _check_labels(model: Model, labels: Sequence[Sequence[int] | None] | None, photos: int) -> None:
    if labels is None:
        return
    if len(labels) != photos:
        raise ConvlensError(f"{len(labels)} labels for {photos} photos; give one each, or None")
    found = trace(model)
    known = found.num_outputs
    least = lowest_prediction(known, found.output_head)
    wrong = [index for right in labels for index in right or () if not least <= index < known]
    if wrong:
        raise ConvlensError(f"class {wrong[0]} of {known}; give an index of {least} to {known - 1}")


@dataclass(frozen=True, eq=False)
class _Way:
    """A way to feed photos: resize (None: squashed), the order of channels, normalization."""

    name: str
    model: Model
    resize: int | None
    reversed: bool = False


def _ways(model: Model, *, tensors: bool) -> list[_Way]:
    """The configured way first, then those to compare it with."""
    resize = model.preprocessing.resize
    named, others = _normalizations(model)
    color = model.channels == 3
    ways = [_Way(f"as configured: {named}", model, resize)]
    ways += [_Way(f"{name}, RGB" if color else name, fed, resize) for name, fed in others.items()]
    if color:
        for name, fed in {f"as configured ({named})": model, **others}.items():
            turned = replace(fed, mean=fed.mean[::-1], std=fed.std[::-1])
            ways.append(_Way(f"{name}, BGR", turned, resize, reversed=True))
    if not tensors:
        for name, part in _RESIZES.items():
            pixels = round(part * max(model.size)) if part is not None else None
            if pixels != resize:
                ways.append(_Way(name, model, pixels))
    return ways


def _prepared(
    model: Model,
    photos: Sequence[PhotoLike] | Tensor,
    chosen: Sequence[int],
    ways: Sequence[_Way],
    *,
    strict: bool,
) -> tuple[dict[int | None, Tensor], list[int], list[str]]:
    """Images by resize, the photos that they are of, and a line for each that cannot be read.

    Each photo is decoded once and not kept: only images of the network's size are.
    """
    if isinstance(photos, Tensor):
        return {model.preprocessing.resize: photos[list(chosen)]}, list(chosen), []
    models = {
        way.resize: replace(model, preprocessing=replace(model.preprocessing, resize=way.resize))
        for way in ways
    }
    made: dict[int | None, list[Tensor]] = {resize: [] for resize in models}
    kept, skipped = [], []
    for i in chosen:
        try:
            photo = read_photo(photos[i])
        except PhotoError as error:
            if strict:
                raise
            skipped.append(str(error))
            continue
        kept.append(i)
        for resize, resized in models.items():
            made[resize].append(resized.prepare(photo))
    return {resize: torch.cat(parts) for resize, parts in made.items() if parts}, kept, skipped


def _normalizations(model: Model) -> tuple[str, dict[str, Model]]:
    """The name of the configured normalization, and models with each of the others."""
    low, span, channels = model.bounds[0], model.span, model.channels
    mine = [(values * channels)[:channels] for values in (model.mean, model.std)]
    found = "a normalization of its own" if model.center == "data" else "each image's own mean"
    others: dict[str, Model] = {}
    for name, (mean, std) in _NORMALISATIONS.items():
        if channels != 3 and len(set(mean)) > 1:
            continue  # ImageNet's numbers are for red, green and blue
        means = tuple(low + span * mean[c % 3] for c in range(channels))
        deviations = tuple(span * std[c % 3] for c in range(channels))
        close = torch.allclose(torch.tensor(mine), torch.tensor([means, deviations]), rtol=1e-2)
        if close and model.center == "data":
            found = name
        else:
            others[name] = replace(model, mean=means, std=deviations, center="data")
    return found, others


def _examine(
    model: Model, images: Tensor, truth: Sequence[Sequence[int]] | None
) -> tuple[Tensor, Tensor | None]:
    """Score (nats) and rightness of each photo."""
    found = trace(model, images)
    scores = _scores(model, found, images)
    if truth is None:
        mirrored = _scores(model, found, images.flip(3))
        return _sure(scores, mirrored, found.output_head), None
    score = torch.stack(
        [
            _log_probability(row, right, found.output_head)
            for row, right in zip(scores, truth, strict=True)
        ]
    )
    said = predicted_classes(scores, found.output_head).tolist()
    right = [answer in classes for answer, classes in zip(said, truth, strict=True)]
    return score, torch.tensor(right)


def _scores(model: Model, found: Trace, images: Tensor) -> Tensor:
    """Logits, float64 `(N, classes)`."""
    parts = [compute_logits(model, found, part) for part in images.split(32)]
    return torch.cat(parts).cpu().double()


def _sure(scores: Tensor, mirrored: Tensor, output_head: str) -> Tensor:
    """How sure and stable the answers to photos and their mirror images are, `(N,)`, in nats."""
    yes = (log_probabilities(scores, output_head) + log_probabilities(mirrored, output_head)) / 2
    if output_head != SIGMOID:
        return yes.amax(dim=1)
    no = (log_probabilities(-scores, output_head) + log_probabilities(-mirrored, output_head)) / 2
    return torch.maximum(yes, no).sum(dim=1)


def _log_probability(scores: Tensor, right: Sequence[int], output_head: str) -> Tensor:
    """Of the right classes of one photo, in nats; exclusive classes add up, others do not."""
    if output_head != SIGMOID:
        return log_probabilities(scores, output_head, dim=0)[list(right)].logsumexp(0)
    of = scores[[max(one, 0) for one in right]]
    signs = torch.tensor([-1.0 if one == NEGATIVE else 1.0 for one in right]).to(of)
    return log_probabilities(of * signs, output_head).amax()


def _judge(
    name: str, score: Tensor, right: Tensor | None, configured: Tensor, alternatives: int
) -> Reading:
    gains = score - configured
    p_value = 1.0
    if bool((gains != 0).any()):
        tested = wilcoxon(gains.numpy(), alternative="greater", method="auto")
        p_value = min(1.0, float(tested.pvalue) * alternatives)
    return Reading(
        name=name,
        score=float(score.mean()),
        accuracy=float(right.double().mean()) if right is not None else None,
        gain=float(gains.mean()),
        p_value=p_value,
    )


def _verdict(
    configured: Reading, others: Sequence[Reading], photos: int, labeled: bool
) -> tuple[str, str]:
    better = [one for one in others if one.gain >= _LEAST_GAIN and one.p_value < _LEVEL]
    if better:
        best = better[0]
        if labeled:
            what = (
                f"{best.accuracy:.0%} of {photos} photos are answered right instead of "
                f"{configured.accuracy:.0%}"
            )
        else:
            what = f"answers are {best.gain:.2f} nats surer and as stable on {photos} photos"
        return "mistake", (
            f"the preprocessing looks wrong: with {best.name!r} {what}; now {configured.name}"
        )
    # The smallest p that the signed-rank test can give with so few photos.
    if 2.0**-photos * len(others) >= _LEVEL:
        return "cannot tell", (
            f"{photos} photos are too few to judge the preprocessing; give at least "
            f"{_enough(len(others))}"
        )
    basis = "labels" if labeled else "the network's own confidence"
    return "fine", (
        f"the preprocessing looks right: none of {len(others)} other readings does clearly "
        f"better on {photos} photos, by {basis}"
    )


def _enough(alternatives: int) -> int:
    photos = 1
    while 2.0**-photos * alternatives >= _LEVEL:
        photos += 1
    return photos
