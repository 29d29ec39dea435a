"""Gabor fits: how much like Gabor functions the filters of a layer are, beside noise fitted alike.

A Gabor function has so many parameters that it explains a good part of any small filter: a median
of 30 % of white noise of 7 × 7. So each fit is compared with fits to noise that is as smooth as the
filters are, and as correlated between their channels.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.analyses.filters.filters import Filters, filters
from convlens.analyses.gabor.fit import LEAST, envelope_means, fit_gabor_parameters
from convlens.data.images import to_pixels
from convlens.drawing import (
    add_title,
    diverging_colors,
    enlarge,
    make_grid,
    make_sheet,
    plot_orientations,
)
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Result

GABOR, BLOB, OTHER, UNTOLD = (
    "Gabor-like", "blob or gradient", "other", "cannot tell",
)  # fmt: skip
KINDS = (GABOR, BLOB, OTHER, UNTOLD)
RATE = 0.05  # of false discoveries, at most, among those that are called more than noise

# A wave has light and dark bars. A function of which the weaker sign, in its strongest channel,
# reaches less than this share of the other's greatest weight is a blob.
_LOBES = 0.2

# And the wave must be one within its envelope and within the filter: a pair of such filters, sine
# and cosine, answers to a uniform image at most half as strongly as to its own wave. Bandwidths of
# simple cells are measured at half height (De Valois, Albrecht & Thorell, 1982); what answers to
# frequency 0 with more has no lower end to its band, and is a blob or a gradient. For an envelope
# within the filter that is σ f of at least 0.187 (0.75 of a cycle within ±2σ; in the plane of σ f
# that Ringach, 2002, draws cells in, blobs lie near 0), for one as broad as the filter 0.6 of a
# cycle.
_UNIFORM = 0.5

_LINES = (150, 150, 150)
_GAP = 18  # pixels between triples
_TILE = 44  # pixels that a filter is enlarged to, about


@dataclass(frozen=True, eq=False)
class GaborFit(Result):
    """Gabor fits of a layer's filters, and what they are worth.

    Attributes:
        filters: the layer's filters, F of them.
        fitted: float32 `(F, C, M, M)`, the nearest Gabor functions; empty where nothing was fitted.
        r2: float32 `(F,)`, share of the squared weights that they explain.
        orientation: float32 `(F,)`, degrees of the bars, counter-clockwise from horizontal as one
            looks at the picture.
        theta: float32 `(F,)`, radians, direction of the wave from x (right) towards y (down).
        frequency: float32 `(F,)`, cycles a pixel.
        phase: float32 `(F, C)`, radians; 0 is odd, π/2 even about the center.
        amplitude: float32 `(F, C)`, at least 0.
        x0: float32 `(F,)`, center in pixels from the filter's middle, to the right.
        y0: float32 `(F,)`, likewise downwards.
        sigma_along: float32 `(F,)`, pixels, standard deviation of the envelope along the wave.
        sigma_across: float32 `(F,)`, likewise across it.
        null_r2: float32 `(N,)`, the same for the fits to noise, increasing.
        smoothness: correlation of neighboring weights, that the noise has too.
        p: float32 `(F,)`, share of the noise fits that explain as much.
        uniform: float32 `(F,)`, answer to a uniform image of the pair of filters, sine and cosine,
            as a share of that to its own wave; above 0.5 there is no wave to speak of.
        at_bound: for each filter the names of those values above that stand at a bound of the
            search, or at the fastest wave that pixels can hold, and so were not measured.
        verdicts: for each filter: Gabor-like, blob or gradient, other, or cannot tell.
        reason: why nothing could be told, or an empty text.
    """

    filters: Filters
    fitted: Tensor
    r2: Tensor
    orientation: Tensor
    theta: Tensor
    frequency: Tensor
    phase: Tensor
    amplitude: Tensor
    x0: Tensor
    y0: Tensor
    sigma_along: Tensor
    sigma_across: Tensor
    null_r2: Tensor
    smoothness: float
    p: Tensor
    uniform: Tensor
    at_bound: tuple[tuple[str, ...], ...]
    verdicts: tuple[str, ...]
    reason: str

    def count(self, verdict: str) -> int:
        """How many filters have a verdict."""
        return self.verdicts.count(verdict)

    def summary(self) -> str:
        """The verdicts in words."""
        total = len(self.verdicts)
        if self.reason:
            return f"{total} filters of {self.filters.layer}: {self.reason}"
        parts = [f"{self.count(kind)} {kind}" for kind in KINDS]
        stuck = sum(
            verdict == GABOR and bool(names)
            for verdict, names in zip(self.verdicts, self.at_bound, strict=True)
        )
        if stuck:
            parts[0] += f" ({stuck} with a value at a bound of the search, which is marked)"
        return (
            f"{total} filters of {self.filters.layer}: {', '.join(parts)}; noise as smooth reaches "
            f"an R² of {self.null_r2[int(0.95 * len(self.null_r2))]:.2f} in 5 % of "
            f"{len(self.null_r2):,} fits (false discoveries at most {RATE:.0%})"
        )

    def shares(self) -> str:
        """The share of Gabor-like filters, and how well Gabor functions fit filters and noise."""
        if self.reason:
            return self.summary()
        share = self.count(GABOR) / len(self.verdicts)
        return (
            f"{share:.0%} are Gabor-like; R² {self.r2.median():.2f} in the median, of noise as "
            f"smooth {self.null_r2.median():.2f}"
        )

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the filters by kind, and within a kind by orientation and frequency.

        Orientation is taken to the nearest of eight, so that frequency orders the filters of each.
        """
        numbers = range(len(self.verdicts))
        if not len(self.fitted):
            return tuple(numbers)
        direction = (self.orientation / 22.5).round().remainder(8).tolist()
        frequency = self.frequency.tolist()
        return tuple(
            sorted(
                numbers,
                key=lambda n: (KINDS.index(self.verdicts[n]), direction[n], frequency[n], n),
            )
        )

    def sorted(self, *, own_scale: bool = False) -> Filters:
        """The filters by kind, Gabor-like ones first; `order` says how within a kind.

        Args:
            own_scale: draw each filter on a scale of its own.
        """
        order = list(self.order)
        return replace(
            self.filters,
            channels=tuple(self.filters.channels[number] for number in order),
            weights=self.filters.weights[order],
            own_scale=own_scale,
            kinds=tuple(self.verdicts[number] for number in order),
        )

    def triples(self) -> list[tuple[int, Tensor]]:
        """For each filter its number and a picture: filter, fit and what is left, side by side.

        Gabor-like ones first, and among those of one verdict the best explained.
        """
        if not len(self.fitted):
            return []
        order = sorted(
            range(len(self.verdicts)),
            key=lambda number: (KINDS.index(self.verdicts[number]), -float(self.r2[number])),
        )
        blocks = []
        times = max(1, _TILE // max(self.fitted.shape[2:]))
        for number in order:
            weights, fit = self.filters.weights[number], self.fitted[number]
            tiles = [enlarge(self._tile(one), times) for one in (weights, fit, weights - fit)]
            blocks.append((number, make_grid(tiles, 3, background=_LINES)))
        return blocks

    def pictures(self) -> dict[str, Tensor]:
        """The triples; filters beside Gabor functions, as in the chapter; the plane of frequencies.

        Where nothing was fitted, the filters alone.
        """
        triples = self.triples()
        if not triples:
            return self.filters.pictures()
        columns = max(1, round((len(triples) / 2) ** 0.5))
        captions = [
            f"{self.filters.channels[number]} {self.verdicts[number]}\n"
            f"R² {self.r2[number]:.2f}, p {self.p[number]:.2g}"
            for number, _ in triples
        ]
        fits = make_sheet([block for _, block in triples], columns, captions=captions, gap=_GAP)
        return {
            "fits": add_title(
                self.filters.with_bar(fits),
                f"{self.filters.layer}: filter, nearest Gabor function, what is left, by channel",
                self.summary(),
            ),
            "beside": self._beside(),
            "plane": plot_orientations(
                [float(self.orientation[number]) for number in self.waves],
                [float(self.frequency[number]) for number in self.waves],
                [self.verdicts[number] == GABOR for number in self.waves],
                (GABOR, "others with a wave"),
                limits=["frequency" in self.at_bound[number] for number in self.waves],
                absent=f"{len(self.verdicts) - len(self.waves)} without a wave, not drawn",
            ),
        }

    @property
    def waves(self) -> tuple[int, ...]:
        """Numbers of the filters whose fit has a wave, so that its direction means something."""
        if not len(self.fitted):
            return ()
        return tuple(
            number
            for number, verdict in enumerate(self.verdicts)
            if verdict != UNTOLD and self.uniform[number] <= _UNIFORM
        )

    def value(self, name: str, number: int, form: str) -> str:
        """A value of a filter as text, with ≤ or ≥ before one that stands at a bound.

        Args:
            name: of the value: frequency, sigma_along, sigma_across, x0 or y0.
            number: of the filter.
            form: as in a format string, for example `.2f`.
        """
        value = float(getattr(self, name)[number])
        if name not in self.at_bound[number]:
            return f"{value:{form}}"
        lowest = {"frequency": 0.1, "sigma_along": 1.0, "sigma_across": 1.0, "x0": 0.0, "y0": 0.0}
        return f"{'≤' if value < lowest[name] else '≥'}{value:{form}}"

    def _beside(self) -> Tensor:
        """All filters on the left, their Gabor functions on the right, each at the same place."""
        times = max(1, _TILE // max(self.fitted.shape[2:]))
        columns = max(1, round(len(self.fitted) ** 0.5))
        halves = [
            add_title(
                make_sheet(
                    [enlarge(self._tile(some[number]), times) for number in self.order], columns,
                    captions=[str(self.filters.channels[number]) for number in self.order],
                ),
                name,
            )
            for name, some in (
                ("filters", self.filters.weights), ("nearest Gabor functions", self.fitted),
            )
        ]  # fmt: skip
        return add_title(
            self.filters.with_bar(make_grid(halves, 2, gap=_GAP)),
            f"{self.filters.layer}: filters and their Gabor functions, by channel",
            "by verdict, then orientation, then frequency",
        )

    def _tile(self, weights: Tensor) -> Tensor:
        """Weights `(C, M, M)` as `(M, M, 3)`: color for three channels, else the strongest one."""
        scale = self.filters.scale or 1.0
        if self.filters.first and len(weights) == 3:
            return to_pixels((weights / (2 * scale) + 0.5).clamp(0, 1))
        return diverging_colors(weights[int(weights.flatten(1).norm(dim=1).argmax())], scale)


def fit_gabor(
    model: Model, *, layer: str | None = None, null: int = 5000, seed: int = 0
) -> GaborFit:
    """Fit Gabor functions to a convolution's filters, and the same to noise.

    Args:
        model: its weights are looked at, not run.
        layer: dotted name of a convolution; default: the first that an image meets.
        null: how many filters of noise are fitted.
        seed: of the noise.

    Raises:
        ConvlensError: no such convolution, or fewer than 100 noise fits.
    """
    if null < 100:
        raise ConvlensError(f"{null} noise fits tell nothing; give at least 100")
    found = filters(model, layer=layer)
    count, _, height, width = found.weights.shape
    if min(height, width) < LEAST:
        return _untold(found, f"{height} x {width} weights are too few to judge")
    fit = fit_gabor_parameters(found.weights)
    smoothness = _smoothness(found.weights)
    noise = _noise(null, found.weights, smoothness, seed)
    null_r2 = fit_gabor_parameters(noise).r2.sort().values
    # As many as explain at least as much, the filter itself counted with them.
    above = len(null_r2) - torch.searchsorted(null_r2, fit.r2)
    p = (above + 1) / (len(null_r2) + 1)
    found_more = discoveries(p)
    lobes, uniform = _lobes(fit.fitted), envelope_means(fit)
    verdicts = []
    for number in range(count):
        if number in found.silent:
            verdicts.append(UNTOLD)
        elif not found_more[number]:
            verdicts.append(OTHER)
        else:
            wave = lobes[number] >= _LOBES and uniform[number] <= _UNIFORM
            verdicts.append(GABOR if wave else BLOB)
    return GaborFit(
        filters=found,
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
        uniform=uniform,
        at_bound=fit.at_bound,
        verdicts=tuple(verdicts),
        reason="",
    )


def _lobes(fitted: Tensor) -> Tensor:
    """`(F,)`: the weaker sign's greatest weight to the stronger's, in the strongest channel."""
    strongest = fitted.flatten(2).norm(dim=2).argmax(dim=1)
    one = fitted[torch.arange(len(fitted)), strongest].flatten(1)
    signs = torch.stack([one.amax(dim=1).clamp(min=0), (-one).amax(dim=1).clamp(min=0)])
    return signs.amin(dim=0) / signs.amax(dim=0).clamp(min=1e-30)


def _untold(found: Filters, reason: str) -> GaborFit:
    none = torch.zeros(0)
    return GaborFit(
        filters=found,
        fitted=none,
        r2=none,
        orientation=none,
        theta=none,
        frequency=none,
        phase=none,
        amplitude=none,
        x0=none,
        y0=none,
        sigma_along=none,
        sigma_across=none,
        null_r2=none,
        smoothness=0.0,
        p=none,
        uniform=none,
        at_bound=((),) * len(found.weights),
        verdicts=(UNTOLD,) * len(found.weights),
        reason=reason,
    )


def _smoothness(weights: Tensor) -> float:
    """Correlation of neighboring weights, over all filters and both directions."""
    own = weights.double()
    power = own.square()
    right = (own[..., 1:] * own[..., :-1]).sum()
    down = (own[..., 1:, :] * own[..., :-1, :]).sum()
    beside = (power[..., 1:].sum() + power[..., :-1].sum()) / 2
    below = (power[..., 1:, :].sum() + power[..., :-1, :].sum()) / 2
    return float((right + down) / (beside + below).clamp(min=1e-300))


def _noise(count: int, weights: Tensor, smoothness: float, seed: int) -> Tensor:
    """Normal noise of the filters' size, smoothness, and correlation between channels."""
    _, channels, height, width = weights.shape
    generator = torch.Generator().manual_seed(seed)
    # Noise under a Gaussian of deviation σ correlates by exp(-1/(4σ²)) with its neighbor.
    sigma = math.sqrt(-1 / (4 * math.log(smoothness))) if 1e-3 < smoothness < 1 else 0.0
    reach = math.ceil(4 * sigma)
    size = (count, channels, height + 2 * reach, width + 2 * reach)
    noise = torch.randn(size, generator=generator, dtype=torch.float64)
    if sigma:
        taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
        bell = torch.exp(-(taps**2) / (2 * sigma**2))
        noise = noise.unfold(3, len(bell), 1) @ bell
        noise = noise.unfold(2, len(bell), 1) @ bell
    unit = weights.double() / weights.double().flatten(1).norm(dim=1).clamp(min=1e-300).view(
        -1, 1, 1, 1
    )
    shared = torch.einsum("fchw,fdhw->cd", unit, unit) / len(unit)
    values, vectors = torch.linalg.eigh(shared)
    mixing = vectors * values.clamp(min=0).sqrt()
    return torch.einsum("cd,ndhw->nchw", mixing, noise)


def discoveries(p: Tensor) -> Tensor:
    """Which p-values are discoveries, by Benjamini & Hochberg (1995)."""
    ordered, order = p.sort()
    limits = RATE * torch.arange(1, len(p) + 1) / len(p)
    passed = (ordered <= limits).nonzero().flatten()
    found = torch.zeros(len(p), dtype=torch.bool)
    if len(passed):
        found[order[: int(passed.max()) + 1]] = True
    return found
