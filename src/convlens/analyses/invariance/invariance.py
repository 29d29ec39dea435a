"""Invariance of channels: how much activation remains at other places, scales and brightnesses.

The chapter's grandmother cell responds to one class of objects whatever their place, their scale
and the light (Bishop & Bishop, section 10.1). For each channel the images that activate it most are
shifted, scaled, and brightened or darkened; and the channel's greatest activation, at any position,
is compared with that on the unchanged image.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convlens.drawing import new_figure, render_figure
from convlens.drawing.palette import MUTED
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.text import plot_text
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("place", "scale", "light")

_SHOWN = 12  # curves in the picture


@dataclass(frozen=True, eq=False)
class Invariance(NetworkResult):
    """The activation of channels that remains when their images change.

    Attributes:
        model: the name of the model.
        layer: the layer of the channels.
        node_name: the name of the node at which they are read.
        side: the side of the layer that this node is: `pre`, `post` or `output`.
        images: the number of images in the data set.
        skipped: the images that could not be read, with the reason.
        channels: int64 `(C,)`, the numbers of the channels in the layer.
        top: how many of the images that activate a channel most are changed.
        activations: float32 `(C,)`, the mean of the channel's greatest activations on these images,
            unchanged.
        typical: float32 `(C,)`, the mean over all images as a share of `activations`: what remains
            if an image is replaced by any other.
        places: the shifts, along both axes, as shares of the image's side.
        scales: the factors of size.
        lights: the factors of brightness.
        place: float32 `(C, P)`, the share of the activation that remains after each shift.
        scale: float32 `(C, S)`, the share at each size.
        light: float32 `(C, L)`, the share at each brightness.
        preferred: int64 `(C,)`, the class with the greatest mean activation; empty without labels.
        names: the names of these classes.
        selectivity: float32 `(C,)`, the area under the ROC curve that separates this class from
            the others; empty without labels.
    """

    model: str
    layer: str
    node_name: str
    side: str
    images: int
    skipped: tuple[str, ...]
    channels: Tensor
    top: int
    activations: Tensor
    typical: Tensor
    places: tuple[float, ...]
    scales: tuple[float, ...]
    lights: tuple[float, ...]
    place: Tensor
    scale: Tensor
    light: Tensor
    preferred: Tensor
    names: tuple[str, ...]
    selectivity: Tensor

    def remaining(self, kind: str) -> Tensor:
        """The mean share that remains over all changes of a kind, each at most 1: `(C,)`.

        Args:
            kind: "place", "scale" or "light".
        """
        shares = {"place": self.place, "scale": self.scale, "light": self.light}[kind]
        return shares.clamp(0, 1).mean(dim=1)

    @property
    def grandmother_score(self) -> Tensor:
        """`(C,)` of 0 to 1: the least of the three invariances and the selectivity, 2 AUC - 1.

        A grandmother cell needs all four, so the weakest counts. NaN without labels.
        """
        if not len(self.selectivity):
            return torch.full((len(self.channels),), torch.nan, dtype=torch.float32)
        parts = [self.remaining(kind) for kind in KINDS]
        parts.append((2 * self.selectivity - 1).clamp(0, 1))
        return torch.stack(parts).amin(dim=0)

    def rank_channels(self) -> list[int]:
        """The rows of the channels by descending grandmother score; without labels by invariance.

        Rows with NaN come last.
        """
        score = self.grandmother_score
        if not len(self.selectivity):
            score = torch.stack([self.remaining(kind) for kind in KINDS]).amin(dim=0)
        order: list[int] = score.nan_to_num(-1).argsort(descending=True, stable=True).tolist()
        return order

    def summary(self) -> str:
        """The most invariant channel and what remains of its activation, in words."""
        channels = counted(len(self.channels), "channel")
        if not len(self.channels):
            return f"{channels} of {self.layer}"
        best = self.rank_channels()[0]
        shares = ", ".join(
            f"{percent(float(self.remaining(kind)[best]))} ({kind})" for kind in KINDS
        )
        return (
            f"{channels} of {self.layer} on {counted(self.images, 'image')}; the most invariant, "
            f"{self.layer}:{int(self.channels[best])}, keeps {shares} "
            f"of its activation"
        )

    def table(self) -> Table:
        """What remains of the activation of each channel, the most invariant first."""
        score = self.grandmother_score
        rows = []
        for row in self.rank_channels():
            shares = [percent(float(self.remaining(kind)[row])) for kind in KINDS]
            by_class = [self.names[row], f"{float(score[row]):.2f}"] if self.names else []
            rows.append([str(int(self.channels[row])), *shares, *by_class])
        by_class = ["preferred class", "grandmother score"] if self.names else []
        return Table.of(["channel", *KINDS, *by_class], rows)

    def figure(self) -> "Figure":
        """Three panels with a curve for each channel, at most twelve.

        With one channel, a line shows what remains with any other photo.
        """
        figure = new_figure(figsize=(9.6, 3.2))
        figure.suptitle(plot_text(f"{self.model}, {self.layer}"), fontsize=9)
        panels = figure.subplots(1, 3, sharey=True)
        rows = self.rank_channels()[:_SHOWN]
        axes = (
            ("shift, of the side", self.places, self.place, 0.0),
            ("size", self.scales, self.scale, 1.0),
            ("brightness", self.lights, self.light, 1.0),
        )
        for panel, (label, changes, shares, unchanged) in zip(panels, axes, strict=True):
            x = sorted((*changes, unchanged))
            center = x.index(unchanged)
            for row in rows:
                y = shares[row].tolist()
                y.insert(center, 1.0)
                panel.plot(
                    x, y, marker="o", markersize=3, linewidth=1.2,
                    label=plot_text(f"{self.layer}:{int(self.channels[row])}"),
                )  # fmt: skip
            if len(rows) == 1:
                typical = float(self.typical[rows[0]])
                panel.axhline(typical, color=MUTED, linestyle="--", label="any other photo")
            if unchanged:
                panel.set_xscale("log", base=2)
                panel.set_xticks(x, [f"{value:g}" for value in x], minor=False)
            panel.set_xlabel(label)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylim(0, max(1.1, panels[0].get_ylim()[1]))  # of all panels
        panels[0].set_ylabel("activation that remains")
        handles, names = panels[-1].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=7)
        return figure

    def numbers_json(self) -> dict[str, Any]:
        """The fields with all values of all tensors: about ten numbers for each channel."""
        return self.to_json(listed=sys.maxsize)

    def pictures(self) -> dict[str, Tensor]:
        """The curves."""
        return {"invariance": render_figure(self.figure(), dpi=160)}
