"""The significance of Gabor fits: the null distribution of R² by fits to noise.

A Gabor function has so many parameters that it explains a good part of any small filter: a median
of 30 % of white noise of 7 × 7. Each fit is therefore compared with fits to noise that is as
smooth as the filters, and as correlated between its channels.
"""

import math

import torch
from torch import Tensor

from convlens.analyses.gabor.least_squares import fit_gabor_parameters

FALSE_DISCOVERY_RATE = 0.05  # among the filters that are called more Gabor-like than noise


def null_distribution(weights: Tensor, count: int, seed: int) -> tuple[Tensor, float]:
    """R² of Gabor fits to noise that resembles filters.

    Args:
        weights: the filters `(F, C, M, M)`.
        count: number of noise filters N.
        seed: seed of the noise.

    Returns:
        The N values of R² in increasing order, and the smoothness of filters and noise.
    """
    smoothness = _smoothness(weights)
    noise = _draw_noise(count, weights, smoothness, seed)
    return fit_gabor_parameters(noise).r2.sort().values, smoothness


def p_values(r2: Tensor, null_r2: Tensor) -> Tensor:
    """Share `(F,)` of the noise fits whose R² is at least as high, counting the filter itself."""
    at_least = len(null_r2) - torch.searchsorted(null_r2, r2)
    return (at_least + 1) / (len(null_r2) + 1)


def find_discoveries(p: Tensor) -> Tensor:
    """Which p-values `(F,)` are discoveries, by the procedure of Benjamini & Hochberg (1995)."""
    ordered, order = p.sort()
    ranks = torch.arange(1, len(p) + 1, dtype=torch.float32)
    limits = FALSE_DISCOVERY_RATE * ranks / len(p)
    passed = (ordered <= limits).nonzero().flatten()
    is_discovery = torch.zeros(len(p), dtype=torch.bool)
    if len(passed):
        is_discovery[order[: int(passed.max()) + 1]] = True
    return is_discovery


def _smoothness(weights: Tensor) -> float:
    """Correlation of neighboring weights, over all filters and both axes."""
    values = weights.double()
    power = values.square()
    right = (values[..., 1:] * values[..., :-1]).sum()
    down = (values[..., 1:, :] * values[..., :-1, :]).sum()
    right_power = (power[..., 1:].sum() + power[..., :-1].sum()) / 2
    down_power = (power[..., 1:, :].sum() + power[..., :-1, :].sum()) / 2
    return float((right + down) / (right_power + down_power).clamp(min=1e-300))


def _draw_noise(count: int, weights: Tensor, smoothness: float, seed: int) -> Tensor:
    """Normal noise with the filters' size, smoothness, and correlation between channels."""
    _, channels, height, width = weights.shape
    generator = torch.Generator().manual_seed(seed)
    # Noise smoothed by a Gaussian of deviation σ has a neighbor correlation of exp(-1/(4σ²)).
    sigma = math.sqrt(-1 / (4 * math.log(smoothness))) if 1e-3 < smoothness < 1 else 0.0
    reach = math.ceil(4 * sigma)
    size = (count, channels, height + 2 * reach, width + 2 * reach)
    noise = torch.randn(size, generator=generator, dtype=torch.float64)
    if sigma:
        taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = torch.exp(-(taps**2) / (2 * sigma**2))
        noise = noise.unfold(3, len(kernel), 1) @ kernel
        noise = noise.unfold(2, len(kernel), 1) @ kernel
    unit = weights.double() / weights.double().flatten(1).norm(dim=1).clamp(min=1e-300).view(
        -1, 1, 1, 1
    )
    channel_correlation = torch.einsum("fchw,fdhw->cd", unit, unit) / len(unit)
    values, vectors = torch.linalg.eigh(channel_correlation)
    mixing = vectors * values.clamp(min=0).sqrt()
    return torch.einsum("cd,ndhw->nchw", mixing, noise)
