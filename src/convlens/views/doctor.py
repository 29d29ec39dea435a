"""The preprocessing doctor: would the network read these photos better if they were fed otherwise?

The usual mistakes are tried on the user's own photos: another normalisation, BGR, 0..255, squashing
or not resizing. A reading is better if the network puts more probability on the right class; where
no labels are given, on one and the same class for a photo and its mirror image, which a network
that is merely overconfident does not do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from scipy.stats import wilcoxon
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.model import Model, PhotoLike
from convlens.results import Result
from convlens.tracing import Trace, trace
from convlens.views.answers import class_scores

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
            log sqrt(p(class | photo) p(class | mirrored photo)); in nats.
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
        sentence: the finding in words.
        readings: the configured one first, then the alternatives, best score first.
        photos: how many photos were read.
        labelled: whether labels were used.
    """

    verdict: str
    sentence: str
    readings: tuple[Reading, ...]
    photos: int
    labelled: bool


def doctor(
    model: Model,
    photos: Sequence[PhotoLike] | Tensor,
    *,
    labels: Sequence[Sequence[int] | None] | None = None,
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
        progress: called with (readings done, of how many).

    Raises:
        ConvlensError: no photos, or photos that the model cannot take.
    """
    chosen = [i for i in range(len(photos)) if labels is None or labels[i]]
    if not chosen:
        raise ConvlensError("no photos to examine" + (" have labels" if labels else ""))
    truth = [list(labels[i] or ()) for i in chosen] if labels is not None else None
    picked = photos[chosen] if isinstance(photos, Tensor) else [photos[i] for i in chosen]
    readings = list(_readings(model, picked))
    scores, rights = [], []
    for done, (_, fed, images) in enumerate(readings):
        score, right = _examine(fed, images(), truth)
        scores.append(score)
        rights.append(right)
        if progress is not None:
            progress(done + 1, len(readings))
    names = [name for name, _, _ in readings]
    judged = [
        _judge(name, score, right, scores[0], len(readings) - 1)
        for name, score, right in zip(names, scores, rights, strict=True)
    ]
    configured, others = judged[0], sorted(judged[1:], key=lambda one: -one.score)
    verdict, sentence = _verdict(configured, others, len(chosen), truth is not None)
    return Diagnosis(
        verdict=verdict,
        sentence=sentence,
        readings=(configured, *others),
        photos=len(chosen),
        labelled=truth is not None,
    )


_Prepared = tuple[str, Model, Callable[[], Tensor]]


def _readings(model: Model, photos: Sequence[PhotoLike] | Tensor) -> Iterator[_Prepared]:
    """Name, model and images of each reading; the configured one first."""
    images = photos if isinstance(photos, Tensor) else model.prepare(photos)
    named, as_configured = _normalisations(model)
    yield f"as configured: {named}", model, lambda: images
    for name, fed in as_configured.items():
        yield f"{name}, RGB" if model.channels == 3 else name, fed, lambda: images
    if model.channels == 3:
        for name, fed in {f"as configured ({named})": model, **as_configured}.items():
            turned = replace(fed, mean=fed.mean[::-1], std=fed.std[::-1])
            yield f"{name}, BGR", turned, lambda: images.flip(1)
    if not isinstance(photos, Tensor):
        side = max(model.geometry.size)
        for name, resize in _RESIZES.items():
            pixels = round(resize * side) if resize is not None else None
            if pixels != model.geometry.resize:
                resized = replace(model, geometry=replace(model.geometry, resize=pixels))
                yield name, model, partial(resized.prepare, photos)


def _normalisations(model: Model) -> tuple[str, dict[str, Model]]:
    """The name of the configured normalisation, and models with each of the others."""
    low, span, channels = model.bounds[0], model.span, model.channels
    mine = [(values * channels)[:channels] for values in (model.mean, model.std)]
    found, others = "a normalisation of its own", {}
    for name, (mean, std) in _NORMALISATIONS.items():
        if channels != 3 and len(set(mean)) > 1:
            continue  # ImageNet's numbers are for red, green and blue
        means = tuple(low + span * mean[c % 3] for c in range(channels))
        deviations = tuple(span * std[c % 3] for c in range(channels))
        if torch.allclose(torch.tensor(mine), torch.tensor([means, deviations]), rtol=1e-2):
            found = name
        else:
            others[name] = replace(model, mean=means, std=deviations)
    return found, others


def _examine(
    model: Model, images: Tensor, truth: Sequence[Sequence[int]] | None
) -> tuple[Tensor, Tensor | None]:
    """Score (nats) and rightness of each photo."""
    found = trace(model, images)
    likely = _log_probabilities(model, found, images)
    if truth is None:
        mirrored = _log_probabilities(model, found, images.flip(3))
        return ((likely + mirrored) / 2).amax(dim=1), None
    score = torch.stack(
        [row[list(right)].logsumexp(0) for row, right in zip(likely, truth, strict=True)]
    )
    answers = likely.argmax(dim=1).tolist()
    right = [answer in classes for answer, classes in zip(answers, truth, strict=True)]
    return score, torch.tensor(right)


def _log_probabilities(model: Model, found: Trace, images: Tensor) -> Tensor:
    """float64 `(N, classes)`."""
    parts = [class_scores(model, found, part) for part in images.split(32)]
    return torch.cat(parts).cpu().double().log_softmax(dim=1)


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
    configured: Reading, others: Sequence[Reading], photos: int, labelled: bool
) -> tuple[str, str]:
    better = [one for one in others if one.gain >= _LEAST_GAIN and one.p_value < _LEVEL]
    if better:
        best = better[0]
        if labelled:
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
    basis = "labels" if labelled else "the network's own confidence"
    return "fine", (
        f"the preprocessing looks right: none of {len(others)} other readings does clearly "
        f"better on {photos} photos, by {basis}"
    )


def _enough(alternatives: int) -> int:
    photos = 1
    while 2.0**-photos * alternatives >= _LEVEL:
        photos += 1
    return photos
