"""Calibration: whether predictions are right as often as the network's confidence says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.calibration.calibration_error import (
    CalibrationError,
    bin_totals,
    calibration_error,
    format_error,
)
from convlens.analyses.calibration.histogram import equal_count, equal_width
from convlens.analyses.calibration.temperature import fit_temperature
from convlens.drawing import ReliabilityBins, reliability_figure, render_figure
from convlens.passes.proportion import wilson_interval
from convlens.passes.reducer import State
from convlens.results import Result, Table
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110  # of the picture of the diagrams


@dataclass(frozen=True, eq=False)
class ReliabilityDiagram(Result):
    """Accuracy against confidence, in bins of confidence.

    Attributes:
        bins_of: "equal width" or "equal count".
        counts: int64 `(B,)`, photos in each bin, the least confident ones first.
        right: int64 `(B,)`, photos in each bin that are predicted correctly.
        mean_confidence: float64 `(B,)`, mean confidence in each bin; NaN without photos.
        error: the expected calibration error, with its interval.
    """

    bins_of: str
    counts: Tensor
    right: Tensor
    mean_confidence: Tensor
    error: CalibrationError

    @property
    def accuracy(self) -> Tensor:
        """The share of each bin's photos that are predicted correctly, float64 `(B,)`."""
        return self.right.double() / self.counts

    def drawn_bins(self) -> ReliabilityBins:
        """The bins that hold photos, with 95 % intervals of their accuracies."""
        holds = self.counts > 0
        counts, right = (values[holds].tolist() for values in (self.counts, self.right))
        ends = [wilson_interval(hits, count) for hits, count in zip(right, counts, strict=True)]
        return ReliabilityBins(
            title=f"bins of {self.bins_of}: error {format_error(self.error.estimate)} "
            f"({format_error(self.error.low)} to {format_error(self.error.high)})",
            confidence=self.mean_confidence[holds].tolist(),
            accuracy=self.accuracy[holds].tolist(),
            low=[low for low, _ in ends],
            high=[high for _, high in ends],
            counts=counts,
        )

    def summary(self) -> str:
        """The error with its interval, beside what chance gives."""
        return f"expected calibration error in bins of {self.bins_of}: {self.error.summary()}"

    def table(self) -> Table:
        """Each bin that holds photos."""
        rows = [
            [str(count), f"{confidence:.3f}", f"{accuracy:.3f}"]
            for count, confidence, accuracy in zip(
                self.counts.tolist(), self.mean_confidence.tolist(), self.accuracy.tolist(),
                strict=True,
            )
            if count
        ]  # fmt: skip
        return Table.of(["photos", "confidence", "accuracy"], rows, most=len(rows))


@dataclass(frozen=True, eq=False)
class Calibration(Result):
    """Whether predictions are right as often as the network's confidence says.

    Attributes:
        images: number of photos with a label.
        equal_width: accuracy against confidence in bins that divide 0 to 1 evenly.
        equal_count: the same in bins that divide the photos evenly.
        temperature: the number by which the logits have to be divided so that the cross-entropy of
            the right classes is least, above 1 where the network is overconfident. None where none
            from 1/16 to 16 does this, or the outputs are no logits of one softmax.
        loss: mean cross-entropy of the right classes in nats; None as above.
        scaled_loss: the same at this temperature; None as above.
    """

    images: int
    equal_width: ReliabilityDiagram
    equal_count: ReliabilityDiagram
    temperature: float | None
    loss: float | None
    scaled_loss: float | None

    @property
    def mean_gap(self) -> float:
        """Mean confidence minus accuracy: above 0 where the network is overconfident."""
        diagram = self.equal_width
        confidence = (diagram.mean_confidence * diagram.counts).nansum()
        return float(confidence - diagram.right.sum()) / max(1, self.images)

    def summary(self) -> str:
        """The errors of both kinds of bins, and the temperature, in words."""
        words = [self.equal_width.summary(), self.equal_count.summary()]
        if self.temperature is not None:
            words.append(
                f"temperature {self.temperature:.2f} gives a cross-entropy of "
                f"{self.scaled_loss:.3f} instead of {self.loss:.3f} nats"
            )
        return "\n".join(words)

    def table(self) -> Table:
        """The calibration error of both kinds of bins."""
        rows = [
            [
                diagram.bins_of,
                *map(format_error, (error.estimate, error.low, error.high, error.chance)),
            ]
            for diagram in (self.equal_width, self.equal_count)
            for error in (diagram.error,)
        ]
        return Table.of(["bins", "error", "low", "high", "by chance"], rows)

    def figure(self) -> "Figure":
        """The reliability diagrams with bins of equal width and of equal count."""
        return reliability_figure(
            [self.equal_width.drawn_bins(), self.equal_count.drawn_bins()],
            title=f"{counted(self.images, 'photo')}: accuracy against confidence",
        )

    def pictures(self) -> dict[str, Tensor]:
        """The reliability diagrams."""
        return {"reliability diagrams": render_figure(self.figure(), _DPI)}


def summarize_calibration(
    histogram: State, bins: int, losses: Tensor | None, *, seed: int = 0
) -> Calibration:
    """Make the result from what a pass has counted.

    Args:
        histogram: see `convlens.analyses.calibration.histogram`.
        bins: number of bins of each diagram.
        losses: sums of the cross-entropy at each temperature; None for outputs without one.
        seed: seed of the resamples; default 0.
    """
    images = int(histogram["counts"].sum())
    fitted = fit_temperature(losses, images) if losses is not None else None
    return Calibration(
        images=images,
        equal_width=_diagram("equal width", histogram, equal_width(histogram, bins), bins, seed),
        equal_count=_diagram("equal count", histogram, equal_count(histogram, bins), bins, seed),
        temperature=None if fitted is None else fitted.temperature,
        loss=None if fitted is None else fitted.loss,
        scaled_loss=None if fitted is None else fitted.scaled_loss,
    )


def _diagram(
    bins_of: str, histogram: State, bin_of: Tensor, bins: int, seed: int
) -> ReliabilityDiagram:
    counts, right, sums = bin_totals(histogram, bin_of, bins)
    return ReliabilityDiagram(
        bins_of, counts.long(), right.long(), torch.where(counts > 0, sums / counts, torch.nan),
        calibration_error(histogram, bin_of, bins, seed=seed),
    )  # fmt: skip
