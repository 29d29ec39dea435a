"""Distinctness: do predictions depend on which photo the network is given?

The confidence of a network grows with the magnitude of its inputs, also on inputs that it does not
recognize. On those it predicts the same few classes for all photos. Confidence alone is therefore
no evidence for a preprocessing: the predictions also have to differ between photos.
"""

import torch
from torch import Tensor

from convlens.models.output_head import SIGMOID, log_probabilities


def distinctness(logits: Tensor, mirrored: Tensor, output_head: str) -> float:
    """How much more alike the predictions are for a photo and its mirror image than for two photos.

    The likeness of two predictions is the Bhattacharyya coefficient, the sum over classes of
    sqrt(p q). Under a sigmoid each class has a probability by itself, and the likeness is the mean
    over the classes.

    Args:
        logits: `(N, classes)` of N photos.
        mirrored: `(N, classes)` of their mirror images.
        output_head: `SOFTMAX` or `SIGMOID`.

    Returns:
        The mean likeness of a photo and its own mirror image, minus that of a photo and the mirror
        image of another one; 0 for one photo. At most 1.
    """
    count = len(logits)
    if count < 2:
        return 0.0
    likeness = _likeness(logits, mirrored, output_head)
    of_same_photo = likeness.diagonal().sum()
    mean_of_others = (likeness.sum() - of_same_photo) / (count * (count - 1))
    return float(of_same_photo / count - mean_of_others)


def _likeness(logits: Tensor, mirrored: Tensor, output_head: str) -> Tensor:
    """The likeness of the predictions for each photo (rows) and each mirror image (columns)."""
    roots, other_roots = (
        (log_probabilities(scores, output_head) / 2).exp() for scores in (logits, mirrored)
    )
    if output_head != SIGMOID:
        return roots @ other_roots.T
    absent, other_absent = (
        (log_probabilities(-scores, output_head) / 2).exp() for scores in (logits, mirrored)
    )
    total: Tensor = torch.addmm(absent @ other_absent.T, roots, other_roots.T)
    return total / logits.shape[1]
