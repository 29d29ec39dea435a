"""Verdicts on fitted filters: Gabor-like, blob or gradient, other, or undecided."""

from collections.abc import Collection

import torch
from torch import Tensor

from convlens.analyses.gabor.least_squares import GaborParameters, uniform_responses

GABOR, BLOB, OTHER, UNDECIDED = "Gabor-like", "blob or gradient", "other", "undecided"
VERDICTS = (GABOR, BLOB, OTHER, UNDECIDED)

# A wave has light and dark bars. A function whose weaker sign, in its strongest channel, reaches
# less than this share of the other sign's greatest weight is a blob.
_LEAST_LOBE_RATIO = 0.2

# A wave must also show within its envelope and the filter: a quadrature pair of such filters
# responds to a uniform image at most half as strongly as to its own wave. Bandwidths of simple
# cells are measured at half height (De Valois, Albrecht & Thorell, 1982). A filter that responds
# more strongly at frequency 0 has no lower end to its band, and is a blob or a gradient. For an
# envelope within the filter the limit is σ f of at least 0.187, or 0.75 of a cycle within ±2σ (in
# the plane of σ f in which Ringach, 2002, draws cells, blobs lie near 0). For an envelope as broad
# as the filter it is 0.6 of a cycle.
MOST_UNIFORM = 0.5


def classify_filters(
    fit: GaborParameters, is_discovery: Tensor, silent: Collection[int]
) -> tuple[tuple[str, ...], Tensor]:
    """Give each fitted filter a verdict.

    Args:
        fit: the fitted Gabor functions of F filters.
        is_discovery: bool `(F,)`, whether the fit is significantly better than fits to noise.
        silent: numbers of the filters whose weights are close to 0.

    Returns:
        The F verdicts, and the uniform responses `(F,)` on which they depend.
    """
    lobe_ratios, uniform_response = _lobe_ratios(fit.fitted), uniform_responses(fit)
    verdicts = []
    for number in range(len(fit.fitted)):
        if number in silent:
            verdicts.append(UNDECIDED)
        elif not is_discovery[number]:
            verdicts.append(OTHER)
        else:
            has_wave = (
                lobe_ratios[number] >= _LEAST_LOBE_RATIO
                and uniform_response[number] <= MOST_UNIFORM
            )
            verdicts.append(GABOR if has_wave else BLOB)
    return tuple(verdicts), uniform_response


def _lobe_ratios(fitted: Tensor) -> Tensor:
    """`(F,)`: greatest weight of the weaker sign over that of the stronger, in each filter.

    The channel with the greatest norm counts.
    """
    strongest = fitted.flatten(2).norm(dim=2).argmax(dim=1)
    weights = fitted[torch.arange(len(fitted)), strongest].flatten(1)
    lobes = torch.stack([weights.amax(dim=1).clamp(min=0), (-weights).amax(dim=1).clamp(min=0)])
    return lobes.amin(dim=0) / lobes.amax(dim=0).clamp(min=1e-30)
