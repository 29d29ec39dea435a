"""The result of Grad-CAM: signed maps with their numbers, and how they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from convlens.data.images import to_pixels
from convlens.drawing import (
    add_caption,
    add_signed_color_bar,
    draw_boxes,
    enlarge,
    overlay,
    overlay_colors,
    place_map,
)
from convlens.errors import ConvlensError
from convlens.results import Result

UNIT = "logit"
_LEAST = 160  # pixels of a saved picture's short side, so that numbers fit beside it
_GAP = 12  # between the pictures of a strip

Sides = tuple[float, ...]  # left, top, right, bottom
Boxes = Sequence[Sequence[Sides]]  # for each image


@dataclass(frozen=True, eq=False)
class MapStatistics(Result):
    """The numbers of one Grad-CAM map, in units of the logit.

    Attributes:
        low: its least value.
        high: its greatest value.
        row: of the cell with the greatest value, from 0.
        column: likewise.
        at_border: that cell is in the first or last row or column.
        positive: how many cells are above zero, of `cells`.
        cells: how many there are.
    """

    low: float
    high: float
    row: int
    column: int
    at_border: bool
    positive: int
    cells: int


@dataclass(frozen=True, eq=False)
class ChannelShare(Result):
    """What one channel adds to a map.

    Attributes:
        channel: its number.
        address: LAYER:K, as `patches` takes it.
        share: of the map's positive sum; all channels together make 1, and one channel may be
            below 0 or above 1.
        alpha: its weight α_k.
    """

    channel: int
    address: str
    share: float
    alpha: float


@dataclass(frozen=True, eq=False)
class GradCam(Result):
    """Signed maps at the layer's own resolution, raw.

    Attributes:
        maps: float32 `(N, K, h, w)`, L for each image and class, in units of the logit.
        alpha: float32 `(N, K, channels)`.
        contributions: float32 `(N, K, channels)`, the sum of α_k A^(k) over the cells where L is
            above zero; together they are the positive sum of L.
        classes: int64 `(N, K)`; -1 for a target of one's own.
        against: int64 `(N, K)`, the class that is subtracted, or -1.
        names: of the classes, by image.
        scores: float32 `(N, K)`, the logits a^c, or what else is explained.
        probabilities: float32 `(N, K)`, softmax over all classes, or the sigmoid of each where the
            network ends in one; of a difference, over its two; NaN for a target of one's own.
        layer: names of the values whose channels were weighted (several where branches are
            concatenated after their non-linearities).
        detector: the name under which `patches` shows these channels.
        side: side of the layer: `pre`, `post` or `output`.
        reason: why this layer.
        centers_y: float64 `(h,)`, the image row in the middle of each cell's receptive field.
        centers_x: float64 `(w,)`, likewise the column.
        images: float32 `(N, C, H, W)`, as given.
        bounds: of the images.
    """

    maps: Tensor
    alpha: Tensor
    contributions: Tensor
    classes: Tensor
    subtracted: Tensor
    names: tuple[tuple[str, ...], ...]
    scores: Tensor
    probabilities: Tensor
    layer: tuple[str, ...]
    detector: str
    side: str
    reason: str
    centers_y: Tensor
    centers_x: Tensor
    images: Tensor
    bounds: tuple[float, float]

    @property
    def scale(self) -> float:
        """Greatest absolute value of all maps, the common scale of their pictures."""
        return float(self.maps.abs().max())

    def statistics(self, image: int, rank: int) -> MapStatistics:
        """The numbers of one map."""
        cells = self.maps[image, rank]
        height, width = cells.shape
        row, column = divmod(int(cells.argmax()), width)
        return MapStatistics(
            low=float(cells.min()),
            high=float(cells.max()),
            row=row,
            column=column,
            at_border=row in (0, height - 1) or column in (0, width - 1),
            positive=int((cells > 0).sum()),
            cells=cells.numel(),
        )

    def sentence(self, image: int, rank: int) -> str:
        """In words, how much of one map speaks for the class."""
        found, name = self.statistics(image, rank), self.names[image][rank]
        if found.positive == 0:
            return f"nothing speaks for {name}: none of {found.cells} cells is above zero"
        return (
            f"{found.positive} of {found.cells} cells speak for {name}, most of all row "
            f"{found.row + 1}, column {found.column + 1}"
        )

    def channels(self, image: int, rank: int, top: int = 5) -> tuple[ChannelShare, ...]:
        """The channels that add most to what speaks for the class.

        A channel's share is the sum of α_k A^(k) over the cells where L is above zero, of the sum
        of L over these cells. There are none where nothing speaks for the class.

        Args:
            image: which, from 0.
            rank: which of its classes, from 0.
            top: how many at most, the greatest share first; none of them below 0.
        """
        parts = self.contributions[image, rank]
        whole = float(self.maps[image, rank].clamp(min=0).sum())
        if whole <= 0:
            return ()
        order = parts.argsort(descending=True, stable=True)[:top].tolist()
        return tuple(
            ChannelShare(
                channel=channel,
                address=f"{self.detector}:{channel}",
                share=float(parts[channel]) / whole,
                alpha=float(self.alpha[image, rank, channel]),
            )
            for channel in order
            if parts[channel] > 0
        )

    def single(self, image: int, ranks: int | None = None) -> "GradCam":
        """The maps of one image alone, of its first classes if their number is given."""
        at, first = slice(image, image + 1), slice(ranks)
        return replace(
            self,
            maps=self.maps[at, first],
            alpha=self.alpha[at, first],
            contributions=self.contributions[at, first],
            classes=self.classes[at, first],
            subtracted=self.subtracted[at, first],
            names=(self.names[image][first],),
            scores=self.scores[at, first],
            probabilities=self.probabilities[at, first],
            images=self.images[at],
        )

    def on_image(self, *, cells: bool = False) -> Tensor:
        """The maps `(N, K, H, W)`, cells at the centers of their fields.

        Args:
            cells: each pixel has the value of the cell with the nearest center, instead of one
                between the cells (bilinear).
        """
        height, width = self.images.shape[-2:]
        size = (height, width)
        return place_map(self.maps, self.centers_y, self.centers_x, size, smooth=not cells)

    def overlays(self, scale: float | None = None, *, cells: bool = False) -> Tensor:
        """The maps over the photos in gray: uint8 `(N, K, H, W, 3)`, red speaks for the class.

        Args:
            scale: value with the strongest color; default: `scale`, common to all maps.
            cells: as for `on_image`.
        """
        scale = self.scale if scale is None else scale
        rows = [
            torch.stack([overlay(photo, one, scale) for one in maps])
            for photo, maps in zip(self._photos(), self.on_image(cells=cells), strict=True)
        ]
        return torch.stack(rows)

    def pictures(
        self, *, scale: float | None = None, cells: bool = False, boxes: Boxes | None = None
    ) -> dict[str, Tensor]:
        """The overlays with the bar of their scale, by number of the image and name of the class.

        Small images are enlarged a whole number of times, with hard edges.

        Args:
            scale: as for `overlays`.
            cells: likewise.
            boxes: outlines that are drawn on each image: left, top, right, bottom in its pixels.
        """
        scale = self.scale if scale is None else scale
        drawn = self.overlays(scale, cells=cells)
        return {
            f"{image}-{rank + 1}-{name}": self.picture(
                drawn[image, rank], image, rank, scale, boxes[image] if boxes else ()
            )
            for image, names in enumerate(self.names)
            for rank, name in enumerate(names)
        }

    def picture(
        self, drawn: Tensor, image: int, rank: int, scale: float, boxes: Sequence[Sides] = ()
    ) -> Tensor:
        """One overlay with boxes, bar, and words where nothing speaks for the class."""
        times = max(1, -(-_LEAST // min(drawn.shape[:2])))
        large = [tuple(times * side for side in box) for box in boxes]
        made = add_signed_color_bar(draw_boxes(enlarge(drawn, times), large), scale, UNIT)
        if bool((self.maps[image, rank] > 0).any()):
            return made
        return add_caption(made, self.sentence(image, rank))

    def figure(self, *, scale: float | None = None, cells: bool = False) -> Figure:
        """A row of overlays for each image, and the bar of the scale that all of them share."""
        scale = self.scale if scale is None else scale
        drawn = self.overlays(scale, cells=cells)
        count, several = drawn.shape[:2]
        figure = Figure(figsize=(3 * several + 1, 3.3 * count), layout="constrained")
        all_axes = figure.subplots(count, several, squeeze=False)
        for image, row in enumerate(all_axes):
            for rank, axes in enumerate(row):
                axes.imshow(drawn[image, rank].numpy(), interpolation="nearest")
                silent = not bool((self.maps[image, rank] > 0).any())
                title = f"{self.names[image][rank]}, {self.scores[image, rank]:+.2f}"
                axes.set_title(f"{title}\nnothing speaks for it" if silent else title)
                axes.set_axis_off()
        colors = ListedColormap((overlay_colors(255).float() / 255).tolist())
        if scale > 0:
            shades = ScalarMappable(Normalize(-scale, scale), colors)
            figure.colorbar(shades, ax=all_axes, label=UNIT, shrink=0.8)
        return figure

    def save(
        self,
        folder: str | Path,
        *,
        scale: float | None = None,
        cells: bool = False,
        boxes: Boxes | None = None,
    ) -> None:
        """As every result, with the options of `pictures` for those that are written."""
        self._write(folder, self.pictures(scale=scale, cells=cells, boxes=boxes))

    def draw(
        self,
        folder: str | Path,
        *,
        scale: float | None = None,
        cells: bool = False,
        boxes: Boxes | None = None,
    ) -> None:
        """The pictures of `save` alone, in place of those that are there."""
        self._draw(Path(folder), self.pictures(scale=scale, cells=cells, boxes=boxes))

    def _photos(self) -> Tensor:
        return to_pixels(self.images, self.bounds).expand(-1, -1, -1, 3)


@dataclass(frozen=True, eq=False)
class GradCamLayers(Result):
    """Grad-CAM at several layers, from coarse to fine.

    Attributes:
        layers: their names, as they were asked for.
        cams: of the same images and classes, one for each layer; that of fewest cells first.
    """

    layers: tuple[str, ...]
    cams: tuple[GradCam, ...]

    def __getitem__(self, layer: str) -> GradCam:
        """The maps at a layer.

        Raises:
            ConvlensError: it is not among them.
        """
        for name, one in zip(self.layers, self.cams, strict=True):
            if layer in (name, *one.layer, one.detector):
                return one
        raise ConvlensError(f"no maps at {layer!r}; there are: {', '.join(self.layers)}")

    @property
    def scales(self) -> tuple[float, ...]:
        """The common scale of each layer's pictures."""
        return tuple(one.scale for one in self.cams)

    def single(self, image: int, ranks: int | None = None) -> "GradCamLayers":
        """The maps of one image alone."""
        return replace(self, cams=tuple(one.single(image, ranks) for one in self.cams))

    def pictures(
        self,
        *,
        scales: Sequence[float] | None = None,
        cells: bool = False,
        boxes: Boxes | None = None,
    ) -> dict[str, Tensor]:
        """For each image and class the photo and a strip of maps, from coarse to fine.

        Each layer has a scale of its own, with its bar, common to all images and classes: α_k is a
        mean over the units, so maps of more cells have smaller values.

        Args:
            scales: for each layer; default: `scales`.
            cells: as for `GradCam.pictures`.
            boxes: likewise.
        """
        scales = self.scales if scales is None else scales
        first = self.cams[0]
        drawn = [
            one.overlays(scale, cells=cells) for one, scale in zip(self.cams, scales, strict=True)
        ]
        strips: dict[str, Tensor] = {}
        for image, names in enumerate(first.names):
            photo = first._photos()[image]
            times = max(1, -(-_LEAST // min(photo.shape[:2])))
            for rank, name in enumerate(names):
                tiles = [
                    add_caption(enlarge(photo, times), f"{name}, {first.scores[image, rank]:+.2f}")
                ]
                for layer, one, scale, pixels in zip(
                    self.layers, self.cams, scales, drawn, strict=True
                ):
                    tile = one.picture(
                        pixels[image, rank], image, rank, scale, boxes[image] if boxes else ()
                    )
                    rows, columns = one.maps.shape[-2:]
                    tiles.append(add_caption(tile, f"{layer}: {rows} × {columns}"))
                strips[f"{image}-{rank + 1}-{name}"] = _row(tiles)
        return strips

    def save(
        self,
        folder: str | Path,
        *,
        scales: Sequence[float] | None = None,
        cells: bool = False,
        boxes: Boxes | None = None,
    ) -> None:
        """As every result, with the options of `pictures` for those that are written."""
        self._write(folder, self.pictures(scales=scales, cells=cells, boxes=boxes))

    def draw(
        self,
        folder: str | Path,
        *,
        scales: Sequence[float] | None = None,
        cells: bool = False,
        boxes: Boxes | None = None,
    ) -> None:
        """The pictures of `save` alone, in place of those that are there."""
        self._draw(Path(folder), self.pictures(scales=scales, cells=cells, boxes=boxes))

    def figure(self) -> Figure:
        """The strips, one beneath the other."""
        strips = self.pictures()
        figure = Figure(
            figsize=(2.6 * (len(self.cams) + 1), 2.6 * len(strips)), layout="constrained"
        )
        rows = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
        for axes, strip in zip(rows, strips.values(), strict=True):
            axes.imshow(strip.numpy())
            axes.set_axis_off()
        return figure


def _row(tiles: Sequence[Tensor]) -> Tensor:
    """Pictures side by side on white, level at the top."""
    most = max(len(tile) for tile in tiles)
    parts = []
    for tile in tiles:
        below = tile.new_full((most - len(tile), *tile.shape[1:]), 255)
        parts += [torch.cat([tile, below]), tile.new_full((most, _GAP, 3), 255)]
    return torch.cat(parts[:-1], dim=1)
