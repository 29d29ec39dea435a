"""The distributions that deep-learning libraries draw initial weights from, and a test of each.

A weight tensor is compared with distributions of known width, so that a match says much: training
moves weights over the bounds of a uniform distribution and changes the width of a normal one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

SMALLEST = 64  # weights that a test needs; of fewer, many values fit any distribution

_SIGNIFICANCE = 1e-4  # of the test against each distribution
_COMPARED = 50_000  # weights of a tensor that are compared, evenly spread
_ROUNDING = 1e-3  # relative, for weights in half precision
_CUT = 2.0  # deviations at which truncated normal distributions end
_TAIL = 0.5 * math.erfc(_CUT / math.sqrt(2))  # share of a normal distribution below the cut
_CUT_DEVIATION = 0.87962566103423978  # of a normal distribution of deviation 1 that is cut there

# Second and fourth moment for a width of 1.
_MOMENTS = {"uniform": (1 / 3, 1 / 5), "normal": (1.0, 3.0), "truncated": (0.7737413, 1.4161894)}


@dataclass(frozen=True)
class Initialization:
    """A distribution of mean 0 that initial weights are drawn from.

    Attributes:
        name: the initialization, in words.
        kind: "uniform", "normal", or "truncated" for a normal distribution cut at twice `width`.
        width: bound of a uniform distribution, otherwise the standard deviation before any cut.
    """

    name: str
    kind: str
    width: float


def match_initialization(weight: Tensor) -> Initialization | None:
    """The initialization that a weight tensor looks drawn from; None if no known one fits.

    Args:
        weight: `(outputs, inputs, ...)` of a convolution or a fully connected layer, with at least
            `SMALLEST` elements.
    """
    values = weight.detach().flatten()
    largest = float(values.abs().max())
    spread = values[:: max(1, len(values) // _COMPARED)]
    sample = np.sort(spread.double().cpu().numpy())
    for initialization in list_initializations(tuple(weight.shape)):
        if _fits(initialization, sample, largest, len(values)):
            return initialization
    return None


def list_initializations(shape: tuple[int, ...]) -> Iterator[Initialization]:
    """The initializations of PyTorch, torchvision and timm for a weight of a shape.

    Args:
        shape: `(outputs, inputs, ...)`; of a grouped convolution, the inputs of one group.
    """
    positions = math.prod(shape[2:])
    fans = {"inputs": shape[1] * positions, "outputs": shape[0] * positions}
    if len(shape) > 2:
        fans["positions"] = positions  # depthwise convolutions of timm
    for name, fan in fans.items():
        yield Initialization(f"PyTorch's default by {name}", "uniform", fan**-0.5)
    fan_sum = fans["inputs"] + fans["outputs"]
    yield Initialization("Xavier uniform", "uniform", math.sqrt(6 / fan_sum))
    yield Initialization("Xavier normal", "normal", math.sqrt(2 / fan_sum))
    for name, fan in fans.items():
        for gain in (1.0, 2.0):
            deviation = math.sqrt(gain / fan)
            yield Initialization(f"Kaiming uniform by {name}", "uniform", 3**0.5 * deviation)
            yield Initialization(f"Kaiming normal by {name}", "normal", deviation)
            # Widened, so that the variance after the cut is what it was before.
            widened = deviation / _CUT_DEVIATION
            yield Initialization(f"Kaiming truncated by {name}", "truncated", widened)
    for width in (0.001, 0.01, 0.02, 0.05, 0.1):
        yield Initialization(f"normal, deviation {width}", "normal", width)
        yield Initialization(f"truncated normal, deviation {width}", "truncated", width)


def _fits(initialization: Initialization, sample: np.ndarray, largest: float, count: int) -> bool:
    """Whether weights look drawn from a distribution.

    Args:
        initialization: the distribution.
        sample: sorted weights.
        largest: greatest absolute weight of the tensor.
        count: number of weights of the tensor.
    """
    width = initialization.width
    scaled = sample / width
    if initialization.kind == "uniform":
        # The greatest of n draws falls short of the bound by about a part in n.
        if not 1 - 10 / count - _ROUNDING <= largest / width <= 1 + _ROUNDING:
            return False
    elif initialization.kind == "truncated" and largest > _CUT * width * (1 + _ROUNDING):
        return False
    # The moment is checked first, because trained weights rarely get further.
    return _has_moment(scaled, initialization.kind) and _is_uniform(
        _probabilities(scaled, initialization.kind)
    )


def _probabilities(scaled: np.ndarray, kind: str) -> np.ndarray:
    """The distribution function at weights, for a width of 1."""
    if kind == "uniform":
        return (scaled + 1) / 2
    from scipy.special import ndtr  # here, as trained weights do without it

    below = ndtr(scaled)
    return below if kind == "normal" else (below - _TAIL) / (1 - 2 * _TAIL)


def _has_moment(scaled: np.ndarray, kind: str) -> bool:
    """Whether the mean square of weights is that of a distribution of width 1, but for chance."""
    second, fourth = _MOMENTS[kind]
    chance = math.sqrt((fourth - second**2) / len(scaled))
    return abs(float((scaled**2).mean()) - second) < 4 * chance + _ROUNDING * second


def _is_uniform(probabilities: np.ndarray) -> bool:
    """Whether sorted probabilities are uniform by a Kolmogorov-Smirnov test."""
    from scipy.special import kolmogorov

    count = len(probabilities)
    steps = np.arange(count + 1) / count
    above, below = (steps[1:] - probabilities).max(), (probabilities - steps[:-1]).max()
    p_value = kolmogorov(max(float(above), float(below)) * math.sqrt(count))
    return float(p_value) > _SIGNIFICANCE
