"""Temperature scaling: the number that logits have to be divided by to be calibrated.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The cross-entropy of the right
classes is summed at fixed temperatures, so that a pass over a data set keeps no logits. Between
them it is interpolated.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_LARGEST = 16.0  # temperatures from 1/16 to 16
_COUNT = 33
TEMPERATURES = tuple(float(t) for t in np.geomspace(1 / _LARGEST, _LARGEST, _COUNT))
_FIXED_POINT = 2**20  # cross-entropies are summed as integers, so that the order does not matter
_LARGEST_LOSS = 2.0**20  # nats; a sum over 2^20 photos of it still is an int64


class Temperature(NamedTuple):
    """The temperature at which the cross-entropy of the right classes is least.

    Attributes:
        temperature: above 1 where the network is overconfident, below 1 where it is not confident
            enough; None where the cross-entropy is least outside of 1/16 to 16.
        loss: mean cross-entropy in nats without a temperature.
        scaled_loss: the same at the temperature; that without it where there is none.
    """

    temperature: float | None
    loss: float
    scaled_loss: float


def sum_losses(logits: Tensor, right: Tensor) -> Tensor:
    """Sum the cross-entropy of the right classes over images, at every temperature.

    Args:
        logits: float64 `(N, K)`.
        right: bool `(N, K)`, the classes that are right, at least one of each image; the
            probabilities of several are added.

    Returns:
        int64 `(T,)`, in fixed point.
    """
    chosen = logits.masked_fill(~right, -torch.inf)
    sums = [
        _to_fixed_point((logits / t).logsumexp(dim=1) - (chosen / t).logsumexp(dim=1))
        for t in TEMPERATURES
    ]
    return torch.stack(sums)


def fit_temperature(losses: Tensor, images: int) -> Temperature:
    """Find the temperature with the least cross-entropy.

    Args:
        losses: int64 `(T,)`, from `sum_losses`, over all images.
        images: number of images.
    """
    from scipy.interpolate import CubicSpline  # takes a second to import

    means = losses.double().numpy() / _FIXED_POINT / max(1, images)
    spline = CubicSpline(np.log(TEMPERATURES), means)
    loss = float(spline(0.0))
    least = int(means.argmin())
    if least in (0, len(means) - 1):
        return Temperature(None, loss, loss)
    near = np.log(TEMPERATURES[least - 1]), np.log(TEMPERATURES[least + 1])
    roots = [
        float(root)
        for root in spline.derivative().roots(extrapolate=False)
        if near[0] < root < near[1]
    ]
    best = min(roots, key=spline, default=float(np.log(TEMPERATURES[least])))
    return Temperature(float(np.exp(best)), loss, float(spline(best)))


def _to_fixed_point(values: Tensor) -> Tensor:
    return (values.clamp(max=_LARGEST_LOSS) * _FIXED_POINT).round().long().sum()
