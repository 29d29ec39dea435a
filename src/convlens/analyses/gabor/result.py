"""The result of `fit_gabor`: Gabor fits of a layer's filters, their p-values and verdicts."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from convlens.analyses.filters.filters import Filters
from convlens.analyses.gabor.noise_test import FALSE_DISCOVERY_RATE
from convlens.analyses.gabor.verdicts import GABOR, MOST_UNIFORM, UNDECIDED, VERDICTS
from convlens.data.images import to_pixels
from convlens.drawing import (
    Panel,
    Scale,
    add_title,
    diverging_colors,
    enlarge,
    grid_figure,
    make_grid,
    make_sheet,
    plot_orientations,
)
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = (150, 150, 150)  # color between the tiles of a triple
_MOST_FITS = 24  # in a figure
_FIT_COLUMNS = 4  # of a figure
_GAP = 18  # pixels between triples
_TILE = 44  # pixels, about: small filters are enlarged to this side


@dataclass(frozen=True, eq=False)
class GaborFit(NetworkResult):
    """Gabor fits of a layer's filters, tested against fits to noise.

    Attributes:
        filters: the layer's filters, F of them.
        fitted: float32 `(F, C, M, M)`, the nearest Gabor functions; empty if nothing was fitted.
        r2: float32 `(F,)`, share of the squared weights that they explain.
        orientation: float32 `(F,)`, of the bars, in degrees, counter-clockwise from horizontal as
            one looks at the picture.
        theta: float32 `(F,)`, direction of the wave in radians, from x (right) toward y (down).
        frequency: float32 `(F,)`, in cycles per pixel.
        phase: float32 `(F, C)`, in radians; 0 is odd, π/2 even about the center.
        amplitude: float32 `(F, C)`, at least 0.
        x0: float32 `(F,)`, center in pixels from the filter's middle, to the right.
        y0: float32 `(F,)`, center in pixels from the filter's middle, downward.
        sigma_along: float32 `(F,)`, standard deviation of the envelope along the wave, in pixels.
        sigma_across: float32 `(F,)`, standard deviation of the envelope across it, in pixels.
        null_r2: float32 `(N,)`, R² of the fits to noise, increasing.
        smoothness: correlation of neighboring weights, of the filters and of the noise.
        p: float32 `(F,)`, p-value: share of the noise fits whose R² is at least as high.
        uniform_response: float32 `(F,)`, response of the fitted quadrature pair to a uniform image,
            as a share of that to its own wave; above 0.5 there is hardly a wave.
        at_bound: for each filter the names of the values that are at a bound of the search or at
            the Nyquist frequency, and so were not measured.
        verdicts: for each filter "Gabor-like", "blob or gradient", "other" or "undecided".
        reason: why nothing was fitted; empty if something was.
    """

    folder_title: ClassVar[str] = "Gabor functions fitted to filters"

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
    uniform_response: Tensor
    at_bound: tuple[tuple[str, ...], ...]
    verdicts: tuple[str, ...]
    reason: str

    def count(self, verdict: str) -> int:
        """Number of filters with a verdict."""
        return self.verdicts.count(verdict)

    def summary(self) -> str:
        """The number of filters with each verdict, in words."""
        total = len(self.verdicts)
        if self.reason:
            return f"{counted(total, 'filter')} of {self.filters.layer}: {self.reason}"
        parts = [f"{self.count(verdict)} {verdict}" for verdict in VERDICTS]
        unmeasured = sum(
            verdict == GABOR and bool(names)
            for verdict, names in zip(self.verdicts, self.at_bound, strict=True)
        )
        if unmeasured:
            parts[0] += f" ({unmeasured} with a value at a bound of the search, which is marked)"
        return (
            f"{counted(total, 'filter')} of {self.filters.layer}: {', '.join(parts)}; equally "
            f"smooth noise reaches an R² of "
            f"{self.null_r2[int(0.95 * len(self.null_r2))]:.2f} in 5 % of "
            f"{counted(len(self.null_r2), 'fit')} (false discovery rate at most "
            f"{percent(FALSE_DISCOVERY_RATE)})"
        )

    def summarize_r2(self) -> str:
        """The share of Gabor-like filters, and the median R² of filters and noise, in words."""
        if self.reason:
            return self.summary()
        share = self.count(GABOR) / len(self.verdicts)
        return (
            f"{percent(share)} are Gabor-like; R² {self.r2.median():.2f} in the median, that of "
            f"equally smooth noise {self.null_r2.median():.2f}"
        )

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the filters by verdict, then by orientation, then by frequency.

        Orientations are rounded to the nearest of eight, and the filters of each are ordered by
        frequency.
        """
        numbers = range(len(self.verdicts))
        if not len(self.fitted):
            return tuple(numbers)
        octant = (self.orientation / 22.5).round().remainder(8).tolist()
        frequency = self.frequency.tolist()
        return tuple(
            sorted(
                numbers,
                key=lambda n: (VERDICTS.index(self.verdicts[n]), octant[n], frequency[n], n),
            )
        )

    def sort_filters(self, *, own_scale: bool = False) -> Filters:
        """The filters in the `order` of their verdicts, Gabor-like ones first.

        Args:
            own_scale: draw each filter on a scale of its own; default: False.
        """
        order = list(self.order)
        return replace(
            self.filters,
            channels=tuple(self.filters.channels[number] for number in order),
            weights=self.filters.weights[order],
            own_scale=own_scale,
            kinds=tuple(self.verdicts[number] for number in order),
            kinds_reason=self.reason,
        )

    def triples(self) -> list[tuple[int, Tensor]]:
        """For each filter its number and a picture: filter, fit and residual side by side.

        Gabor-like filters come first, and among those of one verdict the best fits.
        """
        if not len(self.fitted):
            return []
        triples = []
        factor = max(1, _TILE // max(self.fitted.shape[2:]))
        for number in self._by_verdict():
            weights, fit = self.filters.weights[number], self.fitted[number]
            tiles = [enlarge(self._tile(part), factor) for part in (weights, fit, weights - fit)]
            triples.append((number, make_grid(tiles, 3, background=_LINES)))
        return triples

    def table(self) -> Table:
        """The best fits with what they measure."""
        if not len(self.fitted):
            return Table.of(["channel", "verdict"], [])
        return Table.of(
            ["channel", "verdict", "R²", "p", "orientation", "cycles per pixel"],
            [
                [
                    str(self.filters.channels[number]),
                    self.verdicts[number],
                    f"{float(self.r2[number]):.2f}",
                    f"{float(self.p[number]):.2g}",
                    f"{float(self.orientation[number]):.0f}°",
                    self.format_value("frequency", number, ".2f"),
                ]
                for number in self._by_verdict()
            ],
        )

    def figure(self) -> "Figure":
        """The best fits, each as filter, Gabor function and residual.

        At most 24 are drawn. If nothing was fitted, the filters are.
        """
        triples = self.triples()
        if not triples:
            return self.filters.figure()
        panels = [
            Panel(
                picture,
                f"channel {self.filters.channels[number]}, R² {float(self.r2[number]):.2f}\n"
                f"{self.verdicts[number]}",
                signed=not self.filters.colored,
            )
            for number, picture in triples[:_MOST_FITS]
        ]
        some = f"; {len(panels)} of {len(triples)} filters" * (len(panels) < len(triples))
        scale = self.filters.scale
        return grid_figure(
            panels,
            _FIT_COLUMNS,
            title=f"{self.filters.layer}: filter, nearest Gabor function and residual{some}",
            scale=Scale(self.filters.colors, -scale, scale, "weight"),
        )

    @property
    def layer(self) -> str:
        """The layer of the filters."""
        return self.filters.layer

    def pictures(self) -> dict[str, Tensor]:
        """Fits with residuals, filters beside Gabor functions, orientations and frequencies.

        If nothing was fitted, the filters alone.
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
        fits = make_sheet([triple for _, triple in triples], columns, captions=captions, gap=_GAP)
        return {
            "fits": add_title(
                self.filters.add_weight_bar(fits),
                f"{self.filters.layer}: filter, nearest Gabor function, residual, by channel",
                self.summary(),
            ),
            "filters and fits": self._draw_side_by_side(),
            "orientations": plot_orientations(
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
        """Numbers of the filters whose fit has a wave and so an orientation."""
        if not len(self.fitted):
            return ()
        return tuple(
            number
            for number, verdict in enumerate(self.verdicts)
            if verdict != UNDECIDED and self.uniform_response[number] <= MOST_UNIFORM
        )

    def format_value(self, name: str, number: int, format_spec: str) -> str:
        """A value of a filter as text, with ≤ or ≥ in front if it is at a bound.

        Args:
            name: frequency, sigma_along, sigma_across, x0 or y0.
            number: number of the filter.
            format_spec: format of the number, for example `.2f`.
        """
        value = float(getattr(self, name)[number])
        if name not in self.at_bound[number]:
            return f"{value:{format_spec}}"
        lower_bound = {
            "frequency": 0.1,
            "sigma_along": 1.0,
            "sigma_across": 1.0,
            "x0": 0.0,
            "y0": 0.0,
        }
        return f"{'≤' if value < lower_bound[name] else '≥'}{value:{format_spec}}"

    def _by_verdict(self) -> list[int]:
        """Numbers of the filters by verdict, the best fits of each first."""
        return sorted(
            range(len(self.verdicts)),
            key=lambda number: (VERDICTS.index(self.verdicts[number]), -float(self.r2[number])),
        )

    def _draw_side_by_side(self) -> Tensor:
        """All filters on the left, their Gabor functions at the same positions on the right."""
        factor = max(1, _TILE // max(self.fitted.shape[2:]))
        columns = max(1, round(len(self.fitted) ** 0.5))
        halves = [
            add_title(
                make_sheet(
                    [enlarge(self._tile(weights[number]), factor) for number in self.order],
                    columns,
                    captions=[str(self.filters.channels[number]) for number in self.order],
                ),
                name,
            )
            for name, weights in (
                ("filters", self.filters.weights), ("nearest Gabor functions", self.fitted),
            )
        ]  # fmt: skip
        return add_title(
            self.filters.add_weight_bar(make_grid(halves, 2, gap=_GAP)),
            f"{self.filters.layer}: filters and their Gabor functions, by channel",
            "by verdict, then orientation, then frequency",
        )

    def _tile(self, weights: Tensor) -> Tensor:
        """Weights `(C, M, M)` as uint8 `(M, M, 3)`: three channels in color, else the strongest."""
        scale = self.filters.scale or 1.0
        if self.filters.first and len(weights) == 3:
            return to_pixels((weights / (2 * scale) + 0.5).clamp(0, 1))
        return diverging_colors(weights[int(weights.flatten(1).norm(dim=1).argmax())], scale)
