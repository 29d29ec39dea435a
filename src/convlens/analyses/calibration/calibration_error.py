"""Expected calibration error, with an interval and with what chance alone would give."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convlens.analyses.calibration.histogram import sums_of_confidences
from convlens.passes.reducer import State
from convlens.results import Result
from convlens.wording import percent

_DRAWS = 1000
_ENDS = (2.5, 97.5)  # percentiles: the ends of 95 %
_ONE_SIDED = 95.0


@dataclass(frozen=True, eq=False)
class CalibrationError(Result):
    """An expected calibration error: `|accuracy - confidence|`, averaged over photos.

    Attributes:
        estimate: the error, 0 to 1.
        low: lower end of its 95 % interval.
        high: upper end of the interval.
        chance: what a perfectly calibrated network with these confidences exceeds in 5 % of
            samples of this size.
    """

    estimate: float
    low: float
    high: float
    chance: float

    def summary(self) -> str:
        """The error with its interval, beside what chance gives."""
        return (
            f"{format_error(self.estimate)} (95 % interval {format_error(self.low)} to "
            f"{format_error(self.high)}; a calibrated network stays below "
            f"{format_error(self.chance)} in 95 % of such samples)"
        )


def format_error(share: float) -> str:
    """A share of 0 to 1 in percent, with one digit."""
    return percent(share) if share == 0 else f"{100 * share:.1f} %"


def bin_totals(histogram: State, bin_of: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Photos, right predictions and sum of confidences of each bin, float64 `(bins,)` each."""
    return tuple(  # type: ignore[return-value]
        torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_of, values.double())
        for values in (histogram["counts"], histogram["correct"], sums_of_confidences(histogram))
    )


def calibration_error(
    histogram: State, bin_of: Tensor, bins: int, *, seed: int = 0
) -> CalibrationError:
    """Compute `sum_m n_m / n |accuracy_m - confidence_m|` over bins m, with its interval.

    Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; Guo et
    al., On Calibration of Modern Neural Networks, ICML 2017. The absolute value makes this estimate
    too large where bins hold few photos. The interval is therefore that of the basic bootstrap
    (Davison and Hinkley 1997), which corrects for it, from 1,000 resamples of the photos; it begins
    at 0 where the error is not above `chance`. In simulations of 100 to 1,000 photos, 86 to 98 % of
    such intervals hold the error of the population. `chance` comes from 1,000 samples in which each
    prediction is right with the probability that the network gives it.

    Args:
        histogram: of the confidences, see `convlens.analyses.calibration.histogram`.
        bin_of: int64 `(F,)`, the bin that holds each fine bin.
        bins: number of bins.
        seed: seed of the resamples; default 0.

    Example:
        >>> import torch
        >>> from convlens.analyses.calibration import histogram as h
        >>> fine = h.empty_histogram(10)
        >>> confidences = torch.full((100,), 0.75, dtype=torch.float64)
        >>> h.add_confidences(fine, 10, confidences, torch.arange(100) < 75)
        >>> measured = calibration_error(fine, h.equal_width(fine, 10), 10)
        >>> round(measured.estimate, 6), measured.low, measured.chance > 0.05
        (0.0, 0.0, True)
    """
    generator = np.random.default_rng(seed)
    used = histogram["counts"].nonzero().flatten()
    counts, correct = (histogram[name][used].numpy() for name in ("counts", "correct"))
    total = int(counts.sum())
    if not total:
        return CalibrationError(float("nan"), 0.0, 1.0, 1.0)
    means = np.clip(sums_of_confidences(histogram)[used].numpy() / counts, 0.0, 1.0)
    members = np.zeros((len(used), bins))
    members[np.arange(len(used)), bin_of[used].numpy()] = 1.0

    def errors(gaps: np.ndarray) -> np.ndarray:
        """The error for rows of (right minus sum of confidences) of each fine bin."""
        return np.abs(gaps @ members).sum(axis=-1) / total

    error = float(errors(correct - counts * means))
    cells = np.concatenate([correct, counts - correct]) / total
    resamples = generator.multinomial(total, cells / cells.sum(), size=_DRAWS)
    right, wrong = np.split(resamples, 2, axis=1)
    low, high = np.percentile(errors(right - (right + wrong) * means), _ENDS)
    by_chance = errors(generator.binomial(counts, means, size=(_DRAWS, len(used))) - counts * means)
    chance = float(np.percentile(by_chance, _ONE_SIDED))
    return CalibrationError(
        estimate=error,
        low=max(0.0, min(error, 2 * error - float(high))) if error > chance else 0.0,
        high=max(error, min(1.0, 2 * error - float(low))),
        chance=chance,
    )
