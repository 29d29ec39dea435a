"""Invariance of channels: how far the greatest activation survives other places, scales and lights.

The chapter's grandmother cell answers to one class of things whatever their place, their scale and
the light (Bishop & Bishop, section 10.1). For each channel the images are taken that excite it
most; each is moved, enlarged or reduced, and brightened or darkened; and the channel's greatest
activation, wherever it is, is compared with that on the unchanged image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.patches.selectivity import ClassMeanActivations
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.analyses.patches.top_k import NO_IMAGE
from convlens.capture import stream
from convlens.drawing import render_figure
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.results import Result
from convlens.tracing.selection import ChannelSource
from convlens.tracing.trace import trace

PLACES = (-0.25, -0.125, 0.125, 0.25)  # of the image's side, along both axes
SCALES = (0.5, 0.71, 1.41, 2.0)  # times as large
LIGHTS = (0.25, 0.5, 1.5, 2.0)  # times as bright
KINDS = ("place", "scale", "light")

_FIXED = 2**20  # activations are summed as whole numbers of this fraction
_SHOWN = 12  # curves in the picture


@dataclass(frozen=True, eq=False)
class Invariance(Result):
    """What is left of the greatest activation of channels when their images change.

    Attributes:
        model: its name.
        layer: whose channels were looked at.
        node_name: name of the node.
        side: side of the layer: `pre`, `post` or `output`.
        images: how many were seen.
        skipped: those that could not be read, with the reason.
        channels: int64 `(C,)`, which of the layer's.
        top: how many of the images that excite a channel most were changed.
        activations: float32 `(C,)`, mean of the greatest activations on these, unchanged.
        typical: float32 `(C,)`, the same over all images, as a share of `activations`: what is
            left if an image is exchanged for any other.
        places: shifts, of the image's side along both axes.
        scales: factors of size.
        lights: factors of brightness.
        place: float32 `(C, P)`, share of the activation that is left after each shift.
        scale: float32 `(C, S)`, at each size.
        light: float32 `(C, L)`, at each brightness.
        preferred: int64 `(C,)`, the class with the greatest mean; empty without labels.
        names: of these.
        selectivity: float32 `(C,)`, area under the ROC curve of that class against the others.
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

    def left(self, kind: str) -> Tensor:
        """`(C,)`: mean share that is left over all changes of a kind, at most 1 each."""
        curves = {"place": self.place, "scale": self.scale, "light": self.light}[kind]
        return curves.clamp(0, 1).mean(dim=1)

    @property
    def grandmother(self) -> Tensor:
        """`(C,)` of 0 to 1: the least of the three invariances and the selectivity, 2 AUC - 1.

        A grandmother cell needs all four, so the weakest counts. NaN without labels.
        """
        parts = [self.left(kind) for kind in KINDS]
        if not len(self.selectivity):
            return torch.full((len(self.channels),), torch.nan)
        parts.append((2 * self.selectivity - 1).clamp(0, 1))
        return torch.stack(parts).amin(dim=0)

    def ranked(self) -> list[int]:
        """Rows of the channels, the most like a grandmother cell first; NaN last."""
        score = self.grandmother
        if not len(self.selectivity):
            score = torch.stack([self.left(kind) for kind in KINDS]).amin(dim=0)
        order: list[int] = score.nan_to_num(-1).argsort(descending=True, stable=True).tolist()
        return order

    def figure(self) -> Figure:
        """Three panels with a curve for each channel, at most twelve, and what any image gives."""
        figure = Figure(figsize=(9.6, 3.2), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
        rows = self.ranked()[:_SHOWN]
        axes = (
            ("shift, of the side", self.places, self.place, 0.0),
            ("size", self.scales, self.scale, 1.0),
            ("brightness", self.lights, self.light, 1.0),
        )
        for panel, (label, steps, curves, unchanged) in zip(panels, axes, strict=True):
            at = sorted((*steps, unchanged))
            middle = at.index(unchanged)
            for row in rows:
                values = curves[row].tolist()
                values.insert(middle, 1.0)
                panel.plot(
                    at, values, marker="o", markersize=3, linewidth=1.2,
                    label=f"{self.layer}:{int(self.channels[row])}",
                )  # fmt: skip
            if len(rows) == 1:
                other = float(self.typical[rows[0]])
                panel.axhline(other, color="#5f5f59", linestyle="--", label="any other photo")
            if unchanged:
                panel.set_xscale("log", base=2)
                panel.set_xticks(at, [f"{one:g}" for one in at], minor=False)
            panel.set_xlabel(label)
            panel.set_ylim(0, max(1.1, 1.05 * panel.get_ylim()[1]))
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("activation left")
        panels[-1].legend(frameon=False, fontsize=7)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The curves."""
        return {"invariance": render_figure(self.figure(), dpi=160)}


@dataclass(frozen=True)
class Totals:
    """Sums of each channel's greatest activations, and by class where classes are known."""

    channel_source: ChannelSource
    means: ClassMeanActivations | None

    def initial_state(self, node: int) -> State:
        """Zero sums."""
        own = {"total": torch.zeros(self.channel_source.channels, dtype=torch.int64)}
        return own | (self.means.initial_state(node) if self.means else {})

    def add(self, table: State, peaks: Tensor, ids: Tensor) -> None:
        """Take in the greatest activations `(N, C)` of a batch, in place."""
        table["total"] += (peaks.clamp(min=0).double() * _FIXED).round().long().sum(dim=0)
        if self.means:
            self.means.add(table, peaks, ids)

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Both together."""
        merged = {"total": one["total"] + other["total"]}
        return merged | (self.means.merge(one, other) if self.means else {})


@dataclass(frozen=True)
class Changes:
    """What is done with each batch: every change of every image that excites some channel most.

    Attributes:
        model: left untouched.
        channel_source: that is watched.
        winners: int64 `(C, K)`, the images that excite each channel most; `NO_IMAGE` where free.
    """

    model: Model
    channel_source: ChannelSource
    winners: Tensor

    def initial_state(self) -> State:
        """Nothing seen yet."""
        count = 1 + len(PLACES) + len(SCALES) + len(LIGHTS)
        return {"left": torch.zeros(len(self.winners), count, dtype=torch.int64)}

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Both data sets together."""
        return {"left": one["left"] + other["left"]}

    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Change each image of a batch that some channel needs, in place."""
        for image, number in zip(images.to(self.model.device), ids.tolist(), strict=True):
            wanted = (self.winners == number).any(dim=1)
            if not bool(wanted.any()):
                continue
            greatest = self._greatest(changed(image, self.model.bounds))
            fixed = (greatest.T.clamp(min=0).double() * _FIXED).round().long()
            state["left"] += fixed * wanted[:, None]

    def _greatest(self, variants: Tensor) -> Tensor:
        """Greatest activation of each channel, `(V, C)`."""
        found = trace(self.model, variants)
        seen: list[Tensor] = []

        def tell(node: int, maps: Tensor) -> None:
            seen.append(spatial_max(found.channels_first(node, maps))[0].float().cpu())

        stream(self.model, found, variants, [self.channel_source.node], tell)
        return seen[0]


def changed(image: Tensor, bounds: tuple[float, float]) -> Tensor:
    """An image `(C, H, W)` and all its changes, `(1 + P + S + L, C, H, W)`.

    Moved images are rolled round their edges; reduced ones stand on their own mean color, and of
    enlarged ones the middle is seen (bilinear, with the widening that reducing needs). Brightness
    is counted from the lower bound, and cut at the upper one.
    """
    height, width = image.shape[1:]
    variants = [image]
    for share in PLACES:
        by = (round(share * height), round(share * width))
        variants.append(torch.roll(image, by, dims=(1, 2)))
    variants += [_scaled(image, factor) for factor in SCALES]
    low, high = bounds
    variants += [((image - low) * factor + low).clamp(low, high) for factor in LIGHTS]
    return torch.stack(variants).contiguous(memory_format=torch.channels_last)


def _scaled(image: Tensor, factor: float) -> Tensor:
    height, width = image.shape[1:]
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    resized = F.interpolate(
        image[None], size, mode="bilinear", antialias=True, align_corners=False
    )[0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    if factor >= 1:
        return resized[:, top : top + height, left : left + width]
    placed = image.mean(dim=(1, 2), keepdim=True).expand_as(image).clone()
    placed[:, -top : -top + size[0], -left : -left + size[1]] = resized
    return placed


def told(
    model: Model,
    channel_source: ChannelSource,
    table: Mapping[str, Tensor],
    left: Tensor,
    images: int,
    channels: Sequence[int] | None,
    skipped: tuple[str, ...],
    selective: tuple[Tensor, Tensor] | None,
) -> Invariance:
    """The result of the passes.

    Args:
        model: that was looked at.
        channel_source: that was watched.
        table: strongest images of each channel, as `top_k` keeps them, and `Totals`.
        left: int64 `(C, 1 + P + S + L)`, summed greatest activations on these.
        images: how many there were.
        channels: of the layer, or None for all.
        skipped: reasons.
        selective: preferred classes and areas under the ROC curve, or None.
    """
    chosen = list(range(channel_source.channels)) if channels is None else list(channels)
    at = torch.tensor(chosen)
    count = (table["images"] != NO_IMAGE).sum(dim=1)[at].clamp(min=1)
    whole = left[at].double()
    base = whole[:, :1]
    # Silent channels have nothing to lose: NaN.
    shares = torch.where(base > 0, whole[:, 1:] / base, torch.nan).float()
    place_part, scale_part, light_part = shares.split([len(PLACES), len(SCALES), len(LIGHTS)], 1)
    means = base[:, 0] / _FIXED / count
    preferred = torch.zeros(0, dtype=torch.int64) if selective is None else selective[0][at]
    return Invariance(
        model=model.name,
        layer=channel_source.layer,
        node_name=channel_source.node_name,
        side=channel_source.side,
        images=images,
        skipped=skipped,
        channels=at,
        top=table["images"].shape[1],
        activations=means.float(),
        typical=(table["total"][at] / _FIXED / max(1, images) / means.clamp(min=1e-12)).float(),
        places=PLACES,
        scales=SCALES,
        lights=LIGHTS,
        place=place_part,
        scale=scale_part,
        light=light_part,
        preferred=preferred,
        names=tuple(class_name(model.labels, index) for index in preferred.tolist()),
        selectivity=torch.zeros(0) if selective is None else selective[1][at],
    )
