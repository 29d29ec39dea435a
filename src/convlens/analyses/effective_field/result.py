"""The result of the effective receptive field: gradients, areas, and their pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from convlens.drawing import make_sheet, new_figure, sequential_colors
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILES = 12  # layers in the picture, at most
_TILE = 112  # side of a tile in pixels, at least


@dataclass(frozen=True, eq=False)
class LayerEffectiveField(Result):
    """The effective receptive field of one layer's unit.

    Attributes:
        layer: name of the layer.
        node: name of the node whose unit is differentiated.
        channel: index of the channel, or None for the sum over all channels.
        position: row and column of the unit in the layer's feature maps.
        box: the theoretical field inside the image: first and last row, first and last column.
        sees_whole_image: a global operation lets the unit see the whole image, so that `box` is
            the image.
        area: pixels of the theoretical field, as far as it lies inside the image.
        effective_area: pixels of the smallest set that holds `share` of the gradient; 0 where the
            gradient is zero everywhere.
        ratio: effective area divided by theoretical area; NaN where the gradient is zero.
        gradient: float32 `(H, W)`, mean absolute gradient over photos and image channels, in units
            of the layer's output for each unit of a pixel value.
    """

    layer: str
    node: str
    channel: int | None
    position: tuple[int, int]
    box: tuple[int, int, int, int]
    sees_whole_image: bool
    area: int
    effective_area: int
    ratio: float
    gradient: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the theoretical field inside the image."""
        top, bottom, left, right = self.box
        return bottom - top + 1, right - left + 1

    def tile(self) -> Tensor:
        """The gradient inside the theoretical field, in color: uint8 `(h, w, 3)`.

        Colors are those of the square root of the gradient, since it falls off like a Gaussian;
        each layer has its own scale.
        """
        top, bottom, left, right = self.box
        inside = self.gradient[top : bottom + 1, left : right + 1].sqrt()
        colors = sequential_colors(inside, 0.0, float(inside.max()))
        factor = max(1, _TILE // max(colors.shape[:2]))
        return colors.repeat_interleave(factor, 0).repeat_interleave(factor, 1)

    def summary(self) -> str:
        """The ratio in one sentence."""
        height, width = self.size
        if not self.effective_area:
            return f"{self.layer}: the gradient of the unit is zero on these photos"
        field = "the whole image" if self.sees_whole_image else f"its {height} × {width} pixels"
        return f"{self.layer}: {percent(self.ratio)} of {field} hold the effective receptive field"


@dataclass(frozen=True, eq=False)
class EffectiveField(NetworkResult):
    """Effective receptive fields of the central units of layers.

    Attributes:
        layers: one entry for each layer, in the order in which they run.
        side: "pre", "post" or "output", the side of the layers that is differentiated.
        share: share of the gradient that the effective area holds.
        photos: number of photos that the gradient is averaged over.
        image_size: height and width of the images in pixels.
        left_out: the convolutions without a field, with the reason, where all were asked for.
    """

    folder_title: ClassVar[str] = "Effective receptive fields"

    layers: tuple[LayerEffectiveField, ...]
    side: str
    share: float
    photos: int
    image_size: tuple[int, int]
    left_out: tuple[str, ...] = ()

    def __getitem__(self, layer: str) -> LayerEffectiveField:
        """The entry of a layer, by its name."""
        for entry in self.layers:
            if entry.layer == layer:
                return entry
        raise KeyError(layer)

    def summary(self) -> str:
        """The first and the last layer in one sentence."""
        first, last = self.layers[0], self.layers[-1]
        return (
            f"{percent(self.share)} of the gradient lies in {percent(first.ratio)} of the "
            f"theoretical field at {first.layer} and in {percent(last.ratio)} at {last.layer} "
            f"({counted(self.photos, 'photo')})"
        )

    def table(self) -> Table:
        """The theoretical and the effective area of each layer."""
        return Table.of(
            ["layer", "theoretical field", "effective area", "share"],
            [
                [
                    entry.layer,
                    " × ".join(map(str, entry.size)),
                    f"{entry.effective_area:,}",
                    percent(entry.ratio) if entry.effective_area else "",
                ]
                for entry in self.layers
            ],
        )

    def pictures(self) -> dict[str, Tensor]:
        """The gradient of some layers inside their theoretical fields, evenly spread over all."""
        count = min(len(self.layers), _TILES)
        indices = [
            round(number * (len(self.layers) - 1) / max(count - 1, 1)) for number in range(count)
        ]
        entries = [self.layers[index] for index in indices]
        captions = [
            f"{entry.layer} · {entry.size[0]} × {entry.size[1]} px · "
            + (percent(entry.ratio) if entry.effective_area else "no gradient")
            for entry in entries
        ]
        return {
            "fields": make_sheet(
                [entry.tile() for entry in entries], 6, captions=captions, least=110
            )
        }

    def figure(self) -> "Figure":
        """Effective area against theoretical area for all layers."""
        figure = new_figure(figsize=(5.6, 3.6))
        axes = figure.subplots()
        ratios = [entry.ratio for entry in self.layers]
        axes.plot(range(len(ratios)), ratios, marker="o", markersize=3, linewidth=1)
        axes.set_ylim(0, 1)
        axes.set_title(
            f"effective receptive field ({self.side}), mean of {counted(self.photos, 'photo')}",
            fontsize=9,
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("layer, in the order of execution")
        axes.set_ylabel(f"share of the theoretical area\nthat holds {percent(self.share)}")
        return figure


def effective_area(gradient: Tensor, share: float) -> int:
    """Number of pixels in the smallest set that holds a share of the sum of a map.

    Args:
        gradient: `(H, W)`, not negative.
        share: between 0 and 1.

    Returns:
        The number of pixels; 0 for a map of zeros.

    Example:
        >>> import torch
        >>> effective_area(torch.tensor([[8.0, 1.0], [1.0, 0.0]]), 0.9)
        2
    """
    values = gradient.double().flatten().sort(descending=True).values
    total = float(values.sum())
    if total == 0:
        return 0
    # A relative slack of 1e-9, since a sum of rounded numbers may miss the share by its last bits.
    reached = values.cumsum(0) >= share * total * (1 - 1e-9)
    return int(torch.nonzero(reached)[0]) + 1
