"""Gabor fits of a layer's filters: the nearest Gabor functions, tested against fits to noise."""

import torch
from torch import Tensor

from convlens.analyses.filters.filters import Filters, filters
from convlens.analyses.gabor.least_squares import (
    SMALLEST_SIDE,
    GaborParameters,
    fit_gabor_parameters,
)
from convlens.analyses.gabor.noise_test import find_discoveries, null_distribution, p_values
from convlens.analyses.gabor.result import GaborFit
from convlens.analyses.gabor.verdicts import UNDECIDED, classify_filters
from convlens.cache.entries import read_entry, write_entry
from convlens.cache.environment import describe_environment
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results.network_result import keep_warnings
from convlens.runtime.fingerprints import to_plain

_KIND = "gabor"  # of the entries of the disk cache


@keep_warnings
def fit_gabor(
    model: Model, *, layer: str | None = None, null_size: int = 5000, seed: int = 0
) -> GaborFit:
    """Fit Gabor functions to a convolution's filters, and test the fits against fits to noise.

    A Gabor function fits a good part of any small filter, so each fit is compared with fits to
    noise of the same smoothness. Filters that are fitted significantly better (false discovery
    rate 5 %, Benjamini & Hochberg, 1995) are called Gabor-like, or blobs or gradients if their fit
    has hardly a wave. Filters smaller than 5 × 5 are not fitted, and the result says so.

    Args:
        model: the model. Only its weights are read.
        layer: name of a convolution; default: the first one that an image meets.
        null_size: number of noise filters, at least 100; default 5000.
        seed: seed of the noise; default 0.

    Returns:
        The fitted parameters, their R² and p-values, and a verdict on each filter.

    Raises:
        ConvlensError: there is no such convolution, or `null_size` is below 100.

    Example:
        >>> import torch, convlens
        >>> _ = torch.manual_seed(0)
        >>> model = convlens.wrap(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 5)), size=8, channels=1)
        >>> convlens.fit_gabor(model, null_size=100).verdicts
        ('other', 'other', 'other', 'other')
    """
    if null_size < 100:
        raise ConvlensError(f"{null_size} noise filters are too few; give at least 100")
    layer_filters = filters(model, layer=layer)
    weights = layer_filters.weights
    height, width = weights.shape[2:]
    if min(height, width) < SMALLEST_SIDE:
        return _undecided(layer_filters, f"{height} x {width} weights are too few to judge")
    fit, null_r2, smoothness = _fit_weights(weights, null_size, seed)
    p = p_values(fit.r2, null_r2)
    verdicts, uniform_response = classify_filters(fit, find_discoveries(p), layer_filters.silent)
    return GaborFit(
        filters=layer_filters,
        fitted=fit.fitted,
        r2=fit.r2,
        orientation=fit.orientations,
        theta=fit.theta,
        frequency=fit.frequency,
        phase=fit.phase,
        amplitude=fit.amplitude,
        x0=fit.x0,
        y0=fit.y0,
        sigma_along=fit.sigma_along,
        sigma_across=fit.sigma_across,
        null_r2=null_r2,
        smoothness=smoothness,
        p=p.float(),
        uniform_response=uniform_response,
        at_bound=fit.at_bound,
        verdicts=verdicts,
        reason="",
    )


@keep_warnings
def filters_by_kind(
    model: Model,
    *,
    layer: str | None = None,
    own_scale: bool = False,
    null_size: int = 5000,
    seed: int = 0,
) -> Filters:
    """The filters of a convolution sorted by kind: Gabor-like, blob or gradient, other.

    The kinds are the verdicts of `fit_gabor`. Within a kind the filters are sorted by orientation
    and frequency.

    Args:
        model: the model. Only its weights are read.
        layer: name of a convolution; default: the first one that an image meets.
        own_scale: draw each filter on a scale of its own; default: one scale for all.
        null_size: number of noise filters, at least 100; default 5000.
        seed: seed of the noise that the fits are compared with; default 0.

    Returns:
        The filters, with their kinds.

    Raises:
        ConvlensError: there is no such convolution.

    Example:
        >>> import torch, convlens
        >>> model = convlens.wrap(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3)), size=8)
        >>> result = convlens.filters_by_kind(model)
        >>> result.kinds, result.kinds_reason
        (('undecided', 'undecided'), '3 x 3 weights are too few to judge')
    """
    fit = fit_gabor(model, layer=layer, null_size=null_size, seed=seed)
    return fit.sort_filters(own_scale=own_scale)


def _fit_weights(
    weights: Tensor, null_size: int, seed: int
) -> tuple[GaborParameters, Tensor, float]:
    """The fits to filters, and those to noise, or both from the disk cache.

    Args:
        weights: `(F, C, M, M)`.
        null_size: number of noise filters N.
        seed: seed of the noise.

    Returns:
        The fits, the N values of R² of fits to noise, and the smoothness of filters and noise.
    """
    key = {
        "weights": [to_plain(weights), weights.stride()],
        "null_size": null_size,
        "seed": seed,
        "environment": describe_environment(),
    }
    entry = read_entry(_KIND, key)
    if entry is not None:
        tensors = dict(entry.tensors)
        null_r2 = tensors.pop("null_r2")
        at_bound = tuple(tuple(names) for names in entry.data["at_bound"])
        fit = GaborParameters(at_bound=at_bound, **tensors)
        return fit, null_r2, entry.data["smoothness"]
    fit = fit_gabor_parameters(weights)
    null_r2, smoothness = null_distribution(weights, null_size, seed)
    tensors = {name: value for name, value in vars(fit).items() if isinstance(value, Tensor)}
    data = {"at_bound": fit.at_bound, "smoothness": smoothness}
    write_entry(_KIND, key, data, tensors | {"null_r2": null_r2})
    return fit, null_r2, smoothness


def _undecided(layer_filters: Filters, reason: str) -> GaborFit:
    """The result if nothing is fitted."""
    empty = torch.zeros(0, dtype=torch.float32)
    count = len(layer_filters.weights)
    return GaborFit(
        filters=layer_filters,
        fitted=empty,
        r2=empty,
        orientation=empty,
        theta=empty,
        frequency=empty,
        phase=empty,
        amplitude=empty,
        x0=empty,
        y0=empty,
        sigma_along=empty,
        sigma_across=empty,
        null_r2=empty,
        smoothness=0.0,
        p=empty,
        uniform_response=empty,
        at_bound=((),) * count,
        verdicts=(UNDECIDED,) * count,
        reason=reason,
    )
