"""The result of the randomization of a network: rank correlations with its true maps."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.drawing import new_figure, render_figure
from convlens.drawing.palette import ACCENT, LINE, MUTED
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.text import plot_text
from convlens.wording import counted, enumerated

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Randomization(NetworkResult):
    """Rank correlations of Grad-CAM maps with those of the same network with random weights.

    Attributes:
        stages: names of the layers that become random at each stage, in addition to those of the
            stages before; a stage of several layers is named by its first and last.
        correlations: float32 `(S, D, N, K)`, Spearman's rank correlation of the signed maps by
            stage, draw, image and class; 0 where a map is constant.
        between_images: float32 `(N (N - 1) / 2, K)`, the same correlation between the true maps of
            every two images: what maps have in common whatever the image shows.
        names: names of the classes, by image.
        nodes: names of the nodes whose channels are weighted.
        cells: number of cells of a map.
        seed: seed of the random parameters.
    """

    stages: tuple[str, ...]
    correlations: Tensor
    between_images: Tensor
    names: tuple[tuple[str, ...], ...]
    nodes: tuple[str, ...]
    cells: int
    seed: int

    @property
    def means(self) -> tuple[float, ...]:
        """The mean correlation over draws, images and classes, for each stage."""
        return tuple(self.correlations.flatten(1).mean(dim=1).tolist())

    @property
    def mean_magnitudes(self) -> tuple[float, ...]:
        """The mean absolute correlation, for each stage.

        For unrelated maps it is not 0, but about `mean_magnitude_between_images`.
        """
        return tuple(self.correlations.flatten(1).abs().mean(dim=1).tolist())

    @property
    def mean_between_images(self) -> float | None:
        """The mean correlation between images, or None for one image."""
        return float(self.between_images.mean()) if self.between_images.numel() else None

    @property
    def mean_magnitude_between_images(self) -> float | None:
        """The mean absolute correlation between images, or None for one image."""
        return float(self.between_images.abs().mean()) if self.between_images.numel() else None

    @property
    def maps_change(self) -> bool:
        """Whether the mean correlation with everything random is below a half."""
        return self.means[-1] < 0.5

    def short_summary(self) -> str:
        """The correlation with everything random, in a few words."""
        count = self.correlations.shape[2]
        return (
            f"rank correlation {_format_signed(self.means[-1])} with the maps of the same network "
            f"with random weights, on {counted(count, 'photo')}"
        )

    def summary(self) -> str:
        """How the maps change from the first to the last stage, in words."""
        draws, count = self.correlations.shape[1:3]
        first, last = _format_signed(self.means[0]), _format_signed(self.means[-1])
        words = (
            f"rank correlation of the maps with those of the network with random weights: {first} "
            f"with {self.stages[0]} random, {last} with everything random (magnitude "
            f"{self.mean_magnitudes[-1]:.2f}); mean of {counted(count, 'photo')} "
            f"and {counted(draws, 'draw')}"
        )
        if self.mean_between_images is not None:
            words += (
                f"; between the true maps of different photos "
                f"{_format_signed(self.mean_between_images)} (magnitude "
                f"{self.mean_magnitude_between_images:.2f})"
            )
        return words

    def table(self) -> Table:
        """The mean correlation at each stage."""
        return Table.of(
            ["random down to", "rank correlation", "magnitude"],
            [
                [stage, _format_signed(mean), f"{magnitude:.2f}"]
                for stage, mean, magnitude in zip(
                    self.stages, self.means, self.mean_magnitudes, strict=True
                )
            ],
        )

    def figure(self) -> "Figure":
        """Plot the correlation after each stage, for every map and their mean."""
        figure = new_figure(figsize=(max(4.2, 1.8 + 0.55 * len(self.stages)), 3.6))
        axes = figure.subplots()
        positions = range(len(self.stages) + 1)
        curves = torch.cat(
            [
                torch.ones(1, self.correlations[0].numel(), dtype=torch.float32),
                self.correlations.flatten(1),
            ]
        )
        axes.plot(positions, curves, color=LINE, linewidth=1)
        axes.plot(
            positions, (1.0, *self.means), color=ACCENT, linewidth=2, marker="o", label="mean"
        )
        if self.mean_between_images is not None:
            axes.axhline(
                self.mean_between_images, color=MUTED, linestyle="--",
                label="between different photos",
            )  # fmt: skip
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xticks(
            positions,
            ("nothing", *map(plot_text, self.stages)),
            rotation=35,
            ha="right",
            fontsize="small",
        )
        axes.set(ylim=(-1.05, 1.05), ylabel="rank correlation", xlabel="random down to")
        axes.set_title(plot_text(f"Grad-CAM at {enumerated(self.nodes, 1)}"), fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"randomization": render_figure(self.figure())}


def _format_signed(number: float) -> str:
    text = f"{number:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\N{MINUS SIGN}")
