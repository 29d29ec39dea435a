"""The result of Grad-CAM: signed maps with their weights and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from convlens.analyses.gradcam import pictures as draw
from convlens.analyses.gradcam.pictures import Outline
from convlens.data.images import to_pixels
from convlens.drawing import Panel, Scale, picture_figure, place_map
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, of_image, percent, with_sign

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 8  # of a figure


@dataclass(frozen=True, eq=False)
class MapStatistics(Result):
    """The numbers of one Grad-CAM map, in units of the logit.

    Attributes:
        minimum: the least value.
        maximum: the greatest value.
        row: row of the cell with the greatest value, from 0.
        column: column of that cell, from 0.
        at_border: whether that cell is in the first or last row or column.
        positive_cells: number of cells above zero.
        cells: number of cells.
    """

    minimum: float
    maximum: float
    row: int
    column: int
    at_border: bool
    positive_cells: int
    cells: int


@dataclass(frozen=True, eq=False)
class ChannelShare(Result):
    """What one channel contributes to a map.

    Attributes:
        channel: the channel's number, from 0.
        address: LAYER:K, as `patches` and `maximize` take it.
        share: share of the map's positive sum. The shares of all channels add up to 1; one channel
            may be below 0 or above 1.
        alpha: the channel's weight α_k.
    """

    channel: int
    address: str
    share: float
    alpha: float


@dataclass(frozen=True, eq=False)
class GradCam(NetworkResult):
    """Raw, signed Grad-CAM maps at the layer's own resolution.

    Attributes:
        maps: float32 `(N, K, h, w)`, L for each image and class, in units of the logit.
        alpha: float32 `(N, K, channels)`, the weights α_k.
        contributions: float32 `(N, K, channels)`, the sum of α_k A^(k) over the cells where L is
            above zero. Over all channels they add up to the positive sum of L.
        classes: int64 `(N, K)`, the classes that are explained; -1 for a function of the output.
        subtracted: int64 `(N, K)`, the class whose logit is subtracted, or -1.
        names: names of the classes, by image.
        scores: float32 `(N, K)`, the logits a^c, or the numbers that are explained instead.
        probabilities: float32 `(N, K)`, by a softmax over all classes, or by the sigmoid of each
            where the network ends in one. For a difference: of the first class among these two.
            NaN for a function of the output.
        nodes: names of the nodes whose channels are weighted; several where branches are
            concatenated after their non-linearities.
        channel_layer: the layer under which `patches` and `maximize` address these channels.
        side: side of the layer: `pre`, `post` or `output`.
        reason: why this layer was chosen.
        centers_y: float64 `(h,)`, the image row at the center of each cell's receptive field.
        centers_x: float64 `(w,)`, the image column at the center of each cell's receptive field.
        images: float32 `(N, C, H, W)`, the images as given.
        bounds: least and greatest pixel value of the images.
    """

    folder_title: ClassVar[str] = "Grad-CAM"

    maps: Tensor
    alpha: Tensor
    contributions: Tensor
    classes: Tensor
    subtracted: Tensor
    names: tuple[tuple[str, ...], ...]
    scores: Tensor
    probabilities: Tensor
    nodes: tuple[str, ...]
    channel_layer: str
    side: str
    reason: str
    centers_y: Tensor
    centers_x: Tensor
    images: Tensor
    bounds: tuple[float, float]

    @property
    def scale(self) -> float:
        """Greatest absolute value of all maps: the common scale of their pictures."""
        return float(self.maps.abs().max())

    def statistics(self, image: int, rank: int) -> MapStatistics:
        """The numbers of one map.

        Args:
            image: number of the image, from 0.
            rank: which of its classes, from 0.
        """
        cells = self.maps[image, rank]
        height, width = cells.shape
        row, column = divmod(int(cells.argmax()), width)
        return MapStatistics(
            minimum=float(cells.min()),
            maximum=float(cells.max()),
            row=row,
            column=column,
            at_border=row in (0, height - 1) or column in (0, width - 1),
            positive_cells=int((cells > 0).sum()),
            cells=cells.numel(),
        )

    def summarize_map(self, image: int, rank: int) -> str:
        """How much of one map supports the class, in words.

        Args:
            image: number of the image, from 0.
            rank: which of its classes, from 0.
        """
        numbers, name = self.statistics(image, rank), self.names[image][rank]
        if numbers.positive_cells == 0:
            return (
                f"nothing supports {name}: none of {counted(numbers.cells, 'cell')} is above zero"
            )
        return (
            f"{name} is supported by {numbers.positive_cells} of {counted(numbers.cells, 'cell')}, "
            f"most strongly by row {numbers.row + 1}, column {numbers.column + 1}"
        )

    def channel_shares(self, image: int, rank: int, top: int = 5) -> tuple[ChannelShare, ...]:
        """The channels that contribute most to what supports the class.

        A channel's share is the sum of α_k A^(k) over the cells where L is above zero, divided by
        the sum of L over these cells.

        Args:
            image: number of the image, from 0.
            rank: which of its classes, from 0.
            top: greatest number of channels; default 5.

        Returns:
            Channels with a positive share, the greatest first; none where no cell of the map is
            above zero.
        """
        sums = self.contributions[image, rank]
        positive_sum = float(self.maps[image, rank].clamp(min=0).sum())
        if positive_sum <= 0:
            return ()
        order = sums.argsort(descending=True, stable=True)[:top].tolist()
        return tuple(
            ChannelShare(
                channel=channel,
                address=f"{self.channel_layer}:{channel}",
                share=float(sums[channel]) / positive_sum,
                alpha=float(self.alpha[image, rank, channel]),
            )
            for channel in order
            if sums[channel] > 0
        )

    def select_image(self, image: int, top: int | None = None) -> "GradCam":
        """The maps of one image.

        Args:
            image: number of the image, from 0.
            top: number of its first classes to keep; default: all.
        """
        at, ranks = slice(image, image + 1), slice(top)
        return replace(
            self,
            maps=self.maps[at, ranks],
            alpha=self.alpha[at, ranks],
            contributions=self.contributions[at, ranks],
            classes=self.classes[at, ranks],
            subtracted=self.subtracted[at, ranks],
            names=(self.names[image][ranks],),
            scores=self.scores[at, ranks],
            probabilities=self.probabilities[at, ranks],
            images=self.images[at],
        )

    def photos(self) -> Tensor:
        """The images as pixels, uint8 `(N, H, W, 3)`."""
        return to_pixels(self.images, self.bounds).expand(-1, -1, -1, 3)

    def on_image(self, *, cells: bool = False) -> Tensor:
        """The maps at the image's pixels, `(N, K, H, W)`, each cell at the center of its field.

        Args:
            cells: give each pixel the value of the cell with the nearest center; default: values
                between the cells are bilinear.
        """
        height, width = self.images.shape[-2:]
        size = (height, width)
        return place_map(self.maps, self.centers_y, self.centers_x, size, smooth=not cells)

    def overlays(self, scale: float | None = None, *, cells: bool = False) -> Tensor:
        """The maps over the photos in gray, uint8 `(N, K, H, W, 3)`; red supports the class.

        Args:
            scale: value with the strongest color, in logits; default: `scale`, common to all maps.
            cells: draw cells with hard edges instead of values between them; default: False.
        """
        scale = self.scale if scale is None else scale
        return draw.draw_overlays(self.photos(), self.on_image(cells=cells), scale)

    def pictures(
        self,
        *,
        scale: float | None = None,
        cells: bool = False,
        outlines: Sequence[Sequence[Outline]] | None = None,
    ) -> dict[str, Tensor]:
        """The overlays with the bar of their scale, by the names of `picture_names`.

        Small images are enlarged a whole number of times, with hard edges.

        Args:
            scale: value with the strongest color, in logits; default: `scale`, common to all maps.
            cells: draw cells with hard edges instead of values between them; default: False.
            outlines: boxes that are drawn on each image: left, top, right and bottom in pixels;
                default: none.
        """
        scale = self.scale if scale is None else scale
        overlays = self.overlays(scale, cells=cells)
        pictures = [
            self.finish_overlay(
                overlays[image, rank], image, rank, scale, outlines[image] if outlines else ()
            )
            for image, names in enumerate(self.names)
            for rank in range(len(names))
        ]
        return dict(zip(self.picture_names(), pictures, strict=True))

    def picture_names(self, layer: str | None = None) -> list[str]:
        """The names of the pictures: class and layer, after the image where there are several.

        Args:
            layer: what is named as the layer. Default: `channel_layer`.
        """
        count, place = len(self.names), layer or self.channel_layer
        return [
            of_image(image, count, f"{_tell_apart(names, rank)} at {place}")
            for image, names in enumerate(self.names)
            for rank in range(len(names))
        ]

    def summary(self) -> str:
        """What supports the first class of the first image, in words."""
        height, width = self.maps.shape[-2:]
        place = f"{self.channel_layer} ({self.side}, {height} × {width} cells)"
        count = counted(len(self.maps), "image")
        first = "; on the first one " if len(self.maps) > 1 else "; "
        return f"Grad-CAM of {count} at {place}{first}{self.summarize_map(0, 0)}"

    def table(self) -> Table:
        """The numbers of every map."""
        rows = []
        for image, names in enumerate(self.names):
            for rank, name in enumerate(names):
                numbers = self.statistics(image, rank)
                probability = float(self.probabilities[image, rank])
                rows.append([
                    str(image),
                    name,
                    f"{self.scores[image, rank]:+.2f}",
                    "" if isnan(probability) else percent(probability),
                    f"{numbers.minimum:.3g} to {numbers.maximum:.3g}",
                    f"{numbers.positive_cells} of {numbers.cells}",
                ])  # fmt: skip
        heads = ["image", "class", "logit", "probability", "values of the map", "cells above zero"]
        return Table.of(heads, rows)

    def figure(self, *, scale: float | None = None, cells: bool = False) -> "Figure":
        """A row for each image: the photo, and the overlay of each class, with one color bar.

        At most eight images are drawn.

        Args:
            scale: value with the strongest color, in logits; default: `scale`, common to all maps.
            cells: draw cells with hard edges instead of values between them; default: False.
        """
        count = len(self.maps)
        scale = self.scale if scale is None else scale
        rows = [
            self.panels(image, f"image {image}" if count > 1 else "image", scale, cells=cells)
            for image in range(min(count, MOST_ROWS))
        ]
        height, width = self.maps.shape[-2:]
        title = f"Grad-CAM at {self.channel_layer} ({self.side}, {height} × {width} cells)"
        if len(rows) < count:
            title += f"; {len(rows)} of {count} images"
        return picture_figure(rows, title=title, scale=Scale("overlay", -scale, scale, draw.UNIT))

    def panels(self, image: int, name: str, scale: float, *, cells: bool = False) -> list[Panel]:
        """The photo and the overlay of each class as panels of a figure.

        Args:
            image: number of the image, from 0.
            name: title of the photo.
            scale: value with the strongest color, in logits.
            cells: draw cells with hard edges instead of values between them; default: False.
        """
        cam = self.select_image(image)
        overlays = cam.overlays(scale, cells=cells)[0]
        maps = [Panel(pixels, cam.describe_map(0, rank)) for rank, pixels in enumerate(overlays)]
        return [Panel(cam.photos()[0], name), *maps]

    def describe_map(self, image: int, rank: int) -> str:
        """The class of a map with its logit and its probability, in lines.

        Args:
            image: number of the image, from 0.
            rank: which of its classes, from 0.
        """
        probability = float(self.probabilities[image, rank])
        score = with_sign(float(self.scores[image, rank]))
        words = f"{self.names[image][rank]}\n{draw.UNIT} {score}"
        if not isnan(probability):
            words += f", {percent(probability)}"
        return words if self._supports(image, rank) else f"{words}\nnothing supports it"

    def _supports(self, image: int, rank: int) -> bool:
        """Whether any cell of a map is above zero."""
        return bool((self.maps[image, rank] > 0).any())

    def finish_overlay(
        self, pixels: Tensor, image: int, rank: int, scale: float, outlines: Sequence[Outline]
    ) -> Tensor:
        """One overlay with outlines and bar, and with words where nothing supports the class.

        Args:
            pixels: uint8 `(H, W, 3)`, the overlay.
            image: number of the image, from 0.
            rank: which of its classes, from 0.
            scale: value with the strongest color, in logits.
            outlines: boxes that are drawn on it: left, top, right and bottom in pixels.

        Returns:
            uint8 `(H', W', 3)`.
        """
        note = "" if self._supports(image, rank) else self.summarize_map(image, rank)
        return draw.finish_overlay(pixels, scale, outlines, note)


def join_images(cams: Sequence[GradCam], images: Tensor) -> GradCam:
    """The maps of several batches as those of one.

    Args:
        cams: maps of the same layer for as many classes, at least one of them.
        images: float32 `(N, C, H, W)`, the images of all batches.
    """
    if len(cams) == 1:
        return cams[0]
    names = (
        "maps", "alpha", "contributions", "classes", "subtracted", "scores", "probabilities",
    )  # fmt: skip
    joined: dict[str, Any] = {
        name: torch.cat([getattr(cam, name) for cam in cams]) for name in names
    }
    return replace(
        cams[0],
        **joined,
        names=tuple(row for cam in cams for row in cam.names),
        images=images.detach().cpu(),
    )


def _tell_apart(names: Sequence[str], rank: int) -> str:
    """One of several names, with its rank if it occurs twice."""
    return names[rank] if names.count(names[rank]) == 1 else f"{names[rank]} {rank + 1}"
