"""The feature maps of a trained layer on an image, and the maps after pooling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from convlens.analyses.feature_maps.convolution import pool
from convlens.capture.tiles import capture_maps
from convlens.data.images import to_pixels
from convlens.data.sampling import spread
from convlens.drawing import (
    Panel,
    Scale,
    add_color_bar,
    add_title,
    color_bar,
    diverging_colors,
    grid_figure,
    make_sheet,
    reduce_map,
    sequential_colors,
)
from convlens.drawing.boards import Board
from convlens.drawing.palette import MUTED
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.tracing.channel_names import check_channel
from convlens.tracing.selection import Side, find_channel_sources
from convlens.tracing.tracer import trace
from convlens.wording import counted, enumerated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 64  # maps in a picture
_MOST_DRAWN, _COLUMNS = 23, 6  # maps and columns of a figure
_MOST_LISTED = 5  # channels in a table
_LEAST_SIDE = 112  # pixels that a map is enlarged to in a picture
_BAR_LENGTH = 160  # pixels
_SQUARE, _STEP = 5.0, 6.0  # of the figure of pooled maps: side of a map, and to the next, in cells


@dataclass(frozen=True, eq=False)
class FeatureMaps(NetworkResult):
    """The maps of one layer on one image.

    Attributes:
        layer: the name that was asked for.
        node_name: name of the node whose maps these are.
        side: side of the layer: `pre`, `post` or `output`.
        post: whether a non-linearity gave the maps.
        maps: float32 `(C, h, w)`, raw.
        pooled: float32 `(C, h', w')`, the maps after pooling, or None.
        pooling: the pooling in words; empty for none.
        channels: the channels of the layer whose maps these are.
        image: float32 `(C, H, W)`.
        bounds: least and greatest pixel value of the image.
    """

    layer: str
    node_name: str
    side: str
    post: bool
    maps: Tensor
    pooled: Tensor | None
    pooling: str
    channels: tuple[int, ...]
    image: Tensor
    bounds: tuple[float, float]

    @cached_property
    def scale(self) -> float:
        """Greatest absolute value of all maps: the common scale of their pictures."""
        least, greatest = self.maps.aminmax()  # no copy of maps that may take a GB
        return max(abs(float(least)), abs(float(greatest)))

    @cached_property
    def signed(self) -> bool:
        """Whether any value is below zero."""
        return bool(self.maps.amin() < 0)

    @property
    def shown(self) -> tuple[int, ...]:
        """Numbers of the maps in the pictures: all, or 64 evenly spread."""
        return tuple(spread(range(len(self.maps)), _SHOWN))

    def most_varying(self, count: int) -> tuple[int, ...]:
        """The channels whose maps have the greatest standard deviation over the image.

        An eighth of the map is left out at each border, where many maps show only the padding.

        Args:
            count: number of channels.
        """
        height, width = self.maps.shape[1:]
        rows, columns = height // 8, width // 8
        inner = self.maps[:, rows : height - rows, columns : width - columns]
        deviation = inner.flatten(1).std(dim=1, correction=0)
        order = deviation.sort(descending=True, stable=True).indices
        return tuple(self.channels[number] for number in order[:count].tolist())

    def select(self, channels: Sequence[int]) -> "FeatureMaps":
        """The maps of some of the channels.

        Args:
            channels: their numbers in the layer.

        Raises:
            ConvlensError: there is no map of a channel.
        """
        for channel in channels:
            if channel not in self.channels:
                raise ConvlensError(
                    f"there is no map of channel {channel} of {self.layer}; give some of "
                    f"{enumerated([str(number) for number in self.channels])}"
                )
        rows = [self.channels.index(channel) for channel in channels]
        return replace(
            self,
            maps=self.maps[rows],
            pooled=self.pooled[rows] if self.pooled is not None else None,
            channels=tuple(channels),
        )

    def colors(self, maps: Tensor) -> Tensor:
        """Maps as uint8 `(..., h, w, 3)` on the layer's scale, from 0 or -scale to scale."""
        if self.signed:
            return diverging_colors(maps, self.scale)
        return sequential_colors(maps, 0.0, self.scale)

    def summary(self) -> str:
        """Number, size and range of the maps, in words."""
        count, height, width = self.maps.shape
        return (
            f"{counted(count, 'map')} of {height} × {width} at {self.node_name} ({self.side}), "
            f"{float(self.maps.min()):.3g} to {float(self.maps.max()):.3g}"
        )

    def table(self) -> Table:
        """The channels whose maps vary most over the image."""
        rows = []
        channels = self.most_varying(_MOST_LISTED)
        for channel, values in zip(channels, self.select(channels).maps, strict=True):
            numbers = (values.mean(), values.min(), values.max())
            rows.append([str(channel), *(f"{float(number):.3g}" for number in numbers)])
        return Table.of(["channel", "mean", "least", "greatest"], rows, total=len(self.maps))

    def figure(self) -> "Figure":
        """The image and the maps that vary most over it, on one scale; at most 23 maps."""
        pixels = to_pixels(self.image, self.bounds).expand(-1, -1, 3)
        channels = self.most_varying(_MOST_DRAWN)
        maps = [
            Panel(self.colors(values), f"channel {channel}", self.signed)
            for channel, values in zip(channels, self.select(channels).maps, strict=True)
        ]
        count, height, width = self.maps.shape
        title = f"{self.layer} ({self.side}): maps of {height} × {width}"
        if len(channels) < count:
            title += f"; the {len(channels)} of {count} that vary most over the image"
        scale = Scale(
            "diverging" if self.signed else "sequential",
            -self.scale if self.signed else 0.0,
            self.scale,
            "activation" if self.post else "value",
        )
        return grid_figure([Panel(pixels, "image"), *maps], _COLUMNS, title=title, scale=scale)

    def pictures(self) -> dict[str, Tensor]:
        """The photo, a sheet of the maps, and a sheet of the pooled maps, all on one scale."""
        pixels = to_pixels(self.image, self.bounds).expand(-1, -1, 3).contiguous()
        pictures = {"photo": pixels, "maps": self._sheet(self.maps, f"at {self.node_name}")}
        if self.pooled is not None:
            pictures["pooled"] = self._sheet(self.pooled, f"{self.pooling} of {self.node_name}")
        return pictures

    def pooled_figure(self, count: int = 4) -> "Figure":
        """The image, the maps that vary most over it, and below them the same maps after pooling.

        Args:
            count: number of maps; default 4.

        Raises:
            ConvlensError: the maps were not pooled.
        """
        if self.pooled is None:
            raise ConvlensError(
                f"the maps of {self.layer} are not pooled; give pooling='max' or 'average'"
            )
        channels = self.most_varying(count)
        board = Board((len(channels) + 1) * _STEP + 0.6, 2 * _STEP + 0.9)
        photo = to_pixels(self.image, self.bounds).expand(-1, -1, 3).contiguous()
        board.words(0.4, 0.6, "image", ha="left", color=MUTED, size=8)
        board.picture(photo, 0.4, 1.0, _SQUARE, _SQUARE)
        for row, (maps, name) in enumerate(((self.maps, "maps"), (self.pooled, self.pooling))):
            y = 1.0 + row * _STEP
            height, width = maps.shape[1:]
            for column, channel in enumerate(channels, 1):
                x = 0.4 + column * _STEP
                label = f"channel {channel}" if row == 0 else f"{name}: {height} × {width}"
                board.words(x, y - 0.4, label, ha="left", color=MUTED, size=8)
                colors = self.colors(maps[self.channels.index(channel)])
                board.picture(colors, x, y, _SQUARE, _SQUARE, signed=self.signed)
        height, width = self.maps.shape[1:]
        board.words(
            0.4, 1.0 + _STEP + _SQUARE / 2,
            f"above: maps of\n{height} × {width} at\n{self.layer}\n\nbelow: after pooling,\n"
            f"{self.pooling}; one scale,\nup to {self.scale:.3g}",
            ha="left", size=8, linespacing=1.4,
        )  # fmt: skip
        return board.figure

    def _sheet(self, maps: Tensor, source: str) -> Tensor:
        """Maps as tiles of one size, with hard edges and the bar of their scale."""
        size = self._tile_size()
        tiles = [self._tile(maps[number], size) for number in self.shown]
        columns = max(1, round(len(tiles) ** 0.5))
        captions = [str(self.channels[number]) for number in self.shown]
        sheet = make_sheet(tiles, columns, captions=captions)
        bar = color_bar(
            _BAR_LENGTH, colors="diverging" if self.signed else "sequential", upright=True
        )
        ends = (f"−{self.scale:.3g}", "0") if self.signed else ("0",)
        with_bar = add_color_bar(
            sheet, bar, (*ends, f"{self.scale:.3g}"), "activation" if self.post else "value"
        )
        count, rows, columns = maps.shape
        some = f", {len(self.shown)} of {count} channels, evenly spread" * (len(tiles) < count)
        large = max(size) < max(rows, columns)
        reduced = f", reduced to {size[0]} × {size[1]} by averaging" * large
        return add_title(
            with_bar,
            f"{self.layer}: maps of {rows} × {columns} by channel{some}",
            f"{source}, one scale{reduced}",
        )

    def _tile_size(self) -> tuple[int, int]:
        """Height and width of a tile: those of the maps, enlarged by a factor or reduced."""
        height, width = reduce_map(self.maps[0]).shape
        factor = max(1, _LEAST_SIDE // max(height, width))
        return height * factor, width * factor

    def _tile(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """A map `(h, w)` as a tile, uint8 `(*size, 3)`."""
        colors = self.colors(reduce_map(values, max(size))).movedim(2, 0)[None].float()
        enlarged = F.interpolate(colors, size=size, mode="nearest")
        return enlarged[0].movedim(0, 2).to(torch.uint8)


@keep_warnings
def feature_maps(
    model: Model,
    image: ImagesLike,
    *,
    layer: str | None = None,
    side: Side = "post",
    channels: Sequence[int] | None = None,
    pooling: str | None = None,
    window: int = 2,
) -> FeatureMaps:
    """Compute the feature maps of a trained layer on an image.

    A large image runs in tiles (`convlens.capture.tiles`).

    Args:
        model: the model. It is left untouched.
        image: float32 `(1, C, H, W)` inside the model's bounds, or one photo as `Model.prepare`
            takes it.
        layer: name of a layer or a node. Default: the first convolution.
        side: side of the layer: what its non-linearity returns ("post", default) or consumes
            ("pre"), or what the layer itself returns ("output").
        channels: numbers of channels, whose pictures share one scale. Default: all.
        pooling: "max" or "average", to give the maps after pooling as well; default: no pooling.
        window: side of the pooling windows, in cells; default 2.

    Returns:
        The raw maps of the channels.

    Raises:
        ConvlensError: several images, an unknown layer, one without maps, a channel that it lacks,
            or an unknown pooling.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.

    Example:
        >>> import torch, convlens
        >>> model = convlens.wrap(torch.nn.Conv2d(3, 4, 3), size=8)
        >>> result = convlens.feature_maps(model, torch.rand(1, 3, 8, 8), pooling="max")
        >>> result.maps.shape, result.pooled.shape
        (torch.Size([4, 6, 6]), torch.Size([4, 3, 3]))
    """
    image = model.to_images(image)
    if len(image) > 1:
        raise ConvlensError(
            f"{len(image)} images; feature maps are those of one, (1, C, H, W); "
            "call it once for each"
        )
    model_trace = trace(model, image)
    layers = [layer] if layer is not None else None
    source = find_channel_sources(model_trace, layers, side)[0]
    for channel in channels or ():
        check_channel(source.layer, channel, source.channels)
    activations = capture_maps(model, model_trace, image, source.node).detach()
    maps = model_trace.channels_first(source.node, activations)[0].float().cpu()
    result = FeatureMaps(
        layer=source.layer,
        node_name=source.node_name,
        side=source.side,
        post=source.post,
        maps=maps,
        pooled=pool(maps, pooling, window) if pooling else None,
        pooling=f"{pooling} of {window} × {window}" if pooling else "",
        channels=tuple(range(len(maps))),
        image=image[0].detach().cpu(),
        bounds=model.bounds,
    )
    return result if channels is None else result.select(channels)
