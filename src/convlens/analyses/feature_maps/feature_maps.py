"""Maps: what each filter answers to a photo, position by position, and the same after pooling."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.arithmetic import output_size, same_padding
from convlens.capture import observe
from convlens.data.images import to_pixels
from convlens.drawing import (
    add_color_bar,
    add_title,
    color_bar,
    diverging_colors,
    make_sheet,
    sequential_colors,
)
from convlens.errors import ConvlensError, suggest
from convlens.models.model import Model
from convlens.results import Result
from convlens.tracing.selection import Side, find_channel_sources
from convlens.tracing.trace import trace

POOLS = ("max", "average")

_SHOWN = 64  # maps in a picture
_SIDE = 112  # pixels that a map is enlarged to, at most
_BAR = 160  # pixels


def convolve(
    images: Tensor,
    filters: Tensor,
    *,
    padding: int | str = "valid",
    stride: int = 1,
) -> Tensor:
    """C(j, k) = Σₗ Σₘ I(j + l, k + m) K(l, m), for each image and filter.

    The chapter's convolution (section 10.2.2), which mathematics calls cross-correlation: the
    filter is not flipped. Zeros stand in the padding.

    Args:
        images: `(N, C, H, W)`.
        filters: `(F, C, Mh, Mw)`, or `(F, Mh, Mw)` for images of one channel.
        padding: pixels on each side; `valid` for none; `same` for maps of ⌈H/S⌉ × ⌈W/S⌉, the odd
            pixel below and on the right.
        stride: S, steps of the filter in pixels.

    Returns:
        `(N, F, h, w)`.

    Raises:
        ConvlensError: channels that differ, a filter larger than the padded image, or an unknown
            padding.
    """
    if filters.ndim == 3:
        filters = filters[:, None]
    if images.ndim != 4 or filters.ndim != 4 or images.shape[1] != filters.shape[1]:
        raise ConvlensError(
            f"images {tuple(images.shape)} and filters {tuple(filters.shape)}; (N, C, H, W) and "
            f"(F, C, Mh, Mw) with the same C are needed"
        )
    sizes, kernels = images.shape[2:], filters.shape[2:]
    if padding == "same":
        pads = [same_padding(*pair, stride) for pair in zip(sizes, kernels, strict=True)]
    elif padding == "valid" or isinstance(padding, int):
        pads = [(0, 0) if padding == "valid" else (int(padding), int(padding))] * 2
    else:
        raise ConvlensError(f"padding {padding!r}; give a number of pixels, valid or same")
    for size, kernel, pad in zip(sizes, kernels, pads, strict=True):
        output_size(size, kernel, stride, pad)
    (top, bottom), (left, right) = pads
    return F.conv2d(F.pad(images, (left, right, top, bottom)), filters.to(images), stride=stride)


def pool(maps: Tensor, kind: str = "max", window: int = 2, stride: int | None = None) -> Tensor:
    """Each map with windows of it summarized by their greatest value or their mean.

    Args:
        maps: `(..., h, w)`.
        kind: `max` or `average`.
        window: its side.
        stride: steps; default: the window's side.

    Raises:
        ConvlensError: an unknown kind, or a window larger than the map.
    """
    if kind not in POOLS:
        raise ConvlensError(f"no pooling {kind!r}{suggest(kind, POOLS)}; there are max and average")
    for size in maps.shape[-2:]:
        output_size(size, window, stride or window)
    work = F.max_pool2d if kind == "max" else F.avg_pool2d
    return work(maps, window, stride or window)


@dataclass(frozen=True, eq=False)
class FeatureMaps(Result):
    """The maps of one layer on one image.

    Attributes:
        layer: the name that was asked for.
        node_name: name of the node.
        side: side of the layer: `pre`, `post` or `output`.
        post: whether a non-linearity gave it.
        maps: float32 `(C, h, w)`, raw.
        pooled: float32 `(C, h', w')`, or None.
        pooling: what was done for it, in words.
        image: float32 `(C, H, W)`.
        bounds: of its pixels.
    """

    layer: str
    node_name: str
    side: str
    post: bool
    maps: Tensor
    pooled: Tensor | None
    pooling: str
    image: Tensor
    bounds: tuple[float, float]

    @property
    def scale(self) -> float:
        """Greatest absolute value of all maps; all are drawn on this one scale."""
        return float(self.maps.abs().max())

    @property
    def shown(self) -> tuple[int, ...]:
        """The channels in the pictures: all, or 64 evenly spread."""
        count = min(len(self.maps), _SHOWN)
        return tuple(number * len(self.maps) // count for number in range(count))

    def pictures(self) -> dict[str, Tensor]:
        """The image, the maps, and the pooled maps, in rows; one scale for all maps."""
        pixels = to_pixels(self.image, self.bounds).expand(-1, -1, 3).contiguous()
        found = {"photo": pixels, "maps": self._sheet(self.maps, f"at {self.node_name}, ")}
        if self.pooled is not None:
            found["pooled"] = self._sheet(self.pooled, f"{self.pooling} of {self.node_name}, ")
        return found

    @property
    def signed(self) -> bool:
        """Whether any value is below zero."""
        return bool((self.maps < 0).any())

    def colors(self, maps: Tensor) -> Tensor:
        """Maps as uint8 `(..., h, w, 3)` on the scale of the layer, from 0 or -scale to scale."""
        return (
            diverging_colors(maps, self.scale)
            if self.signed
            else sequential_colors(maps, 0.0, self.scale)
        )

    def strongest(self, count: int) -> tuple[int, ...]:
        """The channels whose maps vary most over the image, by their standard deviation.

        An eighth of the map is left out at each border, where many maps show the padding alone.
        """
        rows, columns = (side // 8 for side in self.maps.shape[1:])
        inner = self.maps[
            :, rows : self.maps.shape[1] - rows, columns : self.maps.shape[2] - columns
        ]
        spread = inner.flatten(1).std(dim=1, correction=0)
        order = spread.sort(descending=True, stable=True).indices
        return tuple(order[:count].tolist())

    def _sheet(self, maps: Tensor, told: str) -> Tensor:
        """Maps as tiles as large as the unpooled ones are drawn, with hard edges, and their bar."""
        height, width = self.maps.shape[-2:]
        times = max(1, _SIDE // max(height, width))
        tiles = []
        for colors in self.colors(maps[list(self.shown)]):
            size = (height * times, width * times)
            enlarged = F.interpolate(colors.movedim(2, 0)[None].float(), size=size, mode="nearest")
            tiles.append(enlarged[0].movedim(0, 2).to(torch.uint8))
        drawn = make_sheet(
            tiles, max(1, round(len(tiles) ** 0.5)), captions=[str(one) for one in self.shown]
        )
        ramp = color_bar(_BAR, colors="diverging" if self.signed else "sequential", upright=True)
        ends = (f"−{self.scale:.3g}", "0") if self.signed else ("0",)
        barred = add_color_bar(
            drawn, ramp, (*ends, f"{self.scale:.3g}"), "activation" if self.post else "value"
        )
        count, rows, columns = maps.shape
        some = f", {len(self.shown)} of {count} channels, evenly spread" * (len(tiles) < count)
        return add_title(
            barred, f"{self.layer}: maps of {rows} × {columns} by channel{some}", f"{told}one scale"
        )


def feature_maps(
    model: Model,
    image: Tensor,
    *,
    layer: str | None = None,
    side: Side = "post",
    pooling: str | None = None,
    window: int = 2,
) -> FeatureMaps:
    """The feature maps of a trained layer on an image.

    Args:
        model: left untouched.
        image: `(1, C, H, W)` inside the bounds.
        layer: name of a layer or a node. Default: the first convolution.
        side: of the layer: what its non-linearity returns (`post`) or consumes (`pre`), or what the
            layer itself returns (`output`).
        pooling: `max` or `average`, to show the maps after pooling too.
        window: of that pooling.

    Raises:
        ConvlensError: an unknown layer, or one without maps.
    """
    found = trace(model, image)
    channel_source = find_channel_sources(found, [layer] if layer is not None else None, side)[0]
    seen = observe(model, found, image[:1], [channel_source.node])[channel_source.node].detach()
    raw = found.channels_first(channel_source.node, seen)[0].float().cpu()
    return FeatureMaps(
        layer=channel_source.layer,
        node_name=channel_source.node_name,
        side=channel_source.side,
        post=channel_source.post,
        maps=raw,
        pooled=pool(raw, pooling, window) if pooling else None,
        pooling=f"{pooling} of {window} x {window}" if pooling else "",
        image=image[0].detach().cpu(),
        bounds=model.bounds,
    )
