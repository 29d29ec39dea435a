"""Linear centered kernel alignment (CKA), a similarity of the representations of two layers.

For centered features X (n, p) and Y (n, q) of the same n samples,

    CKA = |Y^T X|^2 / (|X^T X| |Y^T Y|)

with Frobenius norms (Kornblith et al., Similarity of Neural Network Representations Revisited, ICML
2019). It is 1 for features that are equal up to rotation and scale, and it does not need layers
with the same number of channels. With fewer samples than channels it is large for unrelated
features, too, so it is read beside what unrelated samples give.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def gram_matrix(features: Tensor) -> Tensor:
    """The centered Gram matrix X X^T of features `(n, p)`, scaled to norm 1; float64 `(n, n)`.

    It is 0 where all samples have the same features.
    """
    centered = features.double() - features.double().mean(dim=0)
    gram = centered @ centered.T
    norm = gram.norm()
    return gram / norm if norm > 0 else gram


def cka_matrix(
    first: Sequence[Tensor], second: Sequence[Tensor], order: Tensor | None = None
) -> Tensor:
    """CKA of each pair of layers, float64 `(len(first), len(second))`; 0 for constant features.

    Args:
        first: Gram matrices `(n, n)` of the layers of the first network.
        second: those of the second network.
        order: int64 `(n,)`, another order of the samples of the second network; default: as they
            are.

    Example:
        >>> import torch
        >>> features = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
        >>> grams = [gram_matrix(features)], [gram_matrix(3 * features.flip(1))]
        >>> round(float(cka_matrix(*grams)), 6)
        1.0
    """
    columns = [gram if order is None else gram[order][:, order] for gram in second]
    rows = torch.stack([gram.flatten() for gram in first])
    # The trace of K L is the sum of the elements of both, as they are symmetric.
    return rows @ torch.stack([gram.flatten() for gram in columns]).T
