"""How a network does with one way to preprocess photos: a score for each photo, from its logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.preprocessing_check.distinctness import distinctness
from convlens.models.labels import NEGATIVE
from convlens.models.output_head import PROBABILITIES, SIGMOID, log_probabilities, predicted_classes


@dataclass(frozen=True)
class PhotoScores:
    """How a network does with one variant.

    Attributes:
        nats: float64 `(N,)`, the score of each photo.
        correct: bool `(N,)`, whether the prediction is right; None without labels.
        guessed: the mean score of equal probabilities for all classes; None without labels.
        distinctness: None with labels.
    """

    nats: Tensor
    correct: Tensor | None = None
    guessed: float | None = None
    distinctness: float | None = None


def score_by_labels(
    logits: Tensor, right: Sequence[Sequence[int]], output_head: str
) -> PhotoScores:
    """Score each photo by the log probability of its right classes.

    Args:
        logits: `(N, classes)`.
        right: the indices of the right classes of each photo.
        output_head: how logits become probabilities.
    """
    scores = torch.stack(
        [
            _log_probability(row, classes, output_head)
            for row, classes in zip(logits, right, strict=True)
        ]
    )
    predictions = predicted_classes(logits, output_head).tolist()
    correct = [
        prediction in classes for prediction, classes in zip(predictions, right, strict=True)
    ]
    equal = torch.zeros_like(logits[0])  # logits of equal probabilities
    if output_head == PROBABILITIES:
        equal = torch.full_like(equal, 1 / max(len(equal), 2))
    guessed = [float(_log_probability(equal, classes, output_head)) for classes in right]
    return PhotoScores(
        scores, torch.tensor(correct, dtype=torch.bool), guessed=sum(guessed) / len(guessed)
    )


def score_by_confidence(logits: Tensor, mirrored: Tensor, output_head: str) -> PhotoScores:
    """Score each photo by the network's confidence in one prediction for it and its mirror image.

    Args:
        logits: `(N, classes)` of the photos.
        mirrored: `(N, classes)` of their mirror images.
        output_head: how logits become probabilities.
    """
    return PhotoScores(
        _stable_confidence(logits, mirrored, output_head),
        distinctness=distinctness(logits, mirrored, output_head),
    )


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
    right_logits = logits[[max(index, 0) for index in right]]
    signs = torch.tensor([-1.0 if index == NEGATIVE else 1.0 for index in right]).to(right_logits)
    return log_probabilities(right_logits * signs, output_head).amax()
