"""Robustness: the accuracy of a network as epsilon increases, under FGSM and two controls.

Random signs of the same size show what noise alone does. Projected gradient descent (PGD) shows
what FGSM misses.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from convlens.analyses.attacks.diagnostics import Diagnostic
from convlens.analyses.attacks.figures import of_255
from convlens.drawing import new_figure, render_figure
from convlens.drawing.palette import ACCENT, INK, MUTED
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.text import plot_text
from convlens.wording import counted, interval, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FGSM, NOISE, PGD = "FGSM", "random signs", "PGD"
_COLORS = {NOISE: MUTED, FGSM: ACCENT, PGD: INK}
_MARKERS = {NOISE: "s", FGSM: "o", PGD: "^"}
_OFFSET = 0.006  # between the intervals of two curves at one epsilon, of the width of the plot


@dataclass(frozen=True, eq=False)
class Curve(Result):
    """The number of correct predictions as epsilon increases, under one attack.

    Attributes:
        name: "FGSM", "random signs" or "PGD".
        correct: the number of images with a correct prediction, for epsilon 0 and then for each
            epsilon.
        accuracies: the same as shares of the images.
        low: the lower ends of their 95 % intervals (Wilson).
        high: the upper ends.
    """

    name: str
    correct: tuple[int, ...]
    accuracies: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Robustness(NetworkResult):
    """The accuracy of a network against epsilon, under FGSM and its controls.

    Attributes:
        model: the name of the model.
        images: the number of attacked images, n.
        unlabeled: the number of images that were left out because they have no label.
        skipped: the images that could not be read, with the reason.
        reference: what a correct prediction is: "label", the right class, or "prediction", the
            network's own prediction for the unchanged image.
        loss: the name of E: "cross-entropy" or "margin".
        epsilons: 0 and then the epsilons, ascending, in the units of the image.
        fractions: the same, as fractions of the span of the bounds.
        curves: FGSM; random signs of the same size on the same pixels; PGD, unless it was left
            out. A prediction that PGD changes at one epsilon counts as changed at every larger
            one, because the same adversarial image lies within it.
        pgd_only: for each epsilon the number of predictions that hold under FGSM and that PGD
            changes.
        fgsm_only: for each epsilon the number of predictions that hold under PGD and that FGSM
            changes; with enough steps almost none.
        pgd_steps: the number of steps of PGD; 0 if it was left out.
        seed: seed of the random signs and of PGD's random starts.
        zero_gradients: the share of all pixels whose gradient is exactly 0.
        largest_changes: for each epsilon max `|x' - x|` of FGSM as measured, in the units of the
            image (to 2^-32 of the span).
        diagnostics: reasons not to trust the curves.
    """

    folder_title: ClassVar[str] = "Accuracy against epsilon"

    model: str
    images: int
    unlabeled: int
    skipped: tuple[str, ...]
    reference: str
    loss: str
    epsilons: tuple[float, ...]
    fractions: tuple[float, ...]
    curves: tuple[Curve, ...]
    pgd_only: tuple[int, ...]
    fgsm_only: tuple[int, ...]
    pgd_steps: int
    seed: int
    zero_gradients: float
    largest_changes: tuple[float, ...]
    diagnostics: tuple[Diagnostic, ...]

    def __getitem__(self, name: str) -> Curve:
        """The curve of that name; KeyError if there is none."""
        for curve in self.curves:
            if curve.name == name:
                return curve
        raise KeyError(name)

    def summary(self) -> str:
        """The shares at epsilon 0 and under the first and the last epsilon, in words."""
        outcome = "correct" if self.reference == "label" else "unchanged"
        ends = sorted({0, min(1, len(self.epsilons) - 1), len(self.epsilons) - 1})
        parts = [
            f"{percent(curve.accuracies[end])} at {of_255(self.fractions[end])} ({curve.name})"
            for curve in self.curves[:1]
            for end in ends
        ]
        return (
            f"{self.model} on {counted(self.images, 'image')}: {outcome} predictions "
            f"{', '.join(parts)}"
        )

    def table(self) -> Table:
        """The share of each curve at every epsilon, with its 95 % interval."""
        return Table.of(
            ["epsilon", *(curve.name for curve in self.curves)],
            [
                [
                    of_255(fraction),
                    *(
                        f"{percent(curve.accuracies[number])} "
                        f"({interval(curve.low[number], curve.high[number])})"
                        for curve in self.curves
                    ),
                ]
                for number, fraction in enumerate(self.fractions)
            ],
        )

    def figure(self) -> "Figure":
        """The curves against epsilon, with their intervals."""
        figure = new_figure(figsize=(5.6, 3.6))
        axes = figure.subplots()
        levels = [fraction * 255 for fraction in self.fractions]
        width = max(levels) or 1.0
        for number, curve in enumerate(self.curves):
            # Side by side, so that the intervals do not hide each other.
            x = [level + (number - 1) * _OFFSET * width for level in levels]
            errors = (
                [max(0.0, a - low) for a, low in zip(curve.accuracies, curve.low, strict=True)],
                [max(0.0, high - a) for a, high in zip(curve.accuracies, curve.high, strict=True)],
            )
            axes.errorbar(
                x, curve.accuracies, yerr=errors, label=curve.name, color=_COLORS[curve.name],
                marker=_MARKERS[curve.name], markersize=4, capsize=2, linewidth=1.2,
            )  # fmt: skip
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("epsilon, of 255")
        axes.set_ylabel(
            "correct predictions" if self.reference == "label" else "unchanged predictions"
        )
        axes.set_title(
            plot_text(
                f"{self.model}: {counted(self.images, 'image')}, {self.loss}, 95 % intervals"
            ),
            fontsize=9,
        )
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)  # on none of the curves
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The curves."""
        return {"curve": render_figure(self.figure(), dpi=160)}
