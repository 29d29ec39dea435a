"""Patches: what excites each channel of a layer most, cut from the photos exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from convlens.analyses.patches import activation_statistics
from convlens.analyses.patches.crop_check import CropCheck, cut
from convlens.analyses.patches.top_k import NO_IMAGE
from convlens.analyses.patches.windows import Box
from convlens.data.images import to_pixels
from convlens.drawing import add_title, make_grid, make_sheet
from convlens.errors import ConvlensError, suggest
from convlens.results import Result

TILE = 64  # pixels of a patch in a picture
FRAME = (214, 39, 40)  # around what a unit sees

_PADDING = ((236, 236, 232), (206, 206, 200))  # the stripes that padding is drawn with
_COLUMNS = 2  # of channels in a picture
_SHARES = torch.tensor([0.5, 0.9, 0.99])


@dataclass(frozen=True, eq=False)
class ChannelPatches(Result):
    """The patches of one channel, as pictures.

    Attributes:
        channel: its number.
        tiles: uint8 `(k, T, T, 3)`, strongest first: each receptive field enlarged or shrunk to
            the tile; stripes are padding.
        bands: uint8 `(b, T, T, 3)`: a random image from each band of activation below the
            strongest, an octave each.
        band_values: the activation of each of these.
        boxes: int64 `(k, 4)`, first and last row, first and last column of each patch in its
            image; what lies outside is padding.
        values: the activation of each patch.
        photos: name of the image of each.
        fired: share of all images in which the channel fires.
        whole: uint8 `(T, T, 3)`, the image of the strongest patch with its field framed; empty
            for a channel without patches.
    """

    channel: int
    tiles: Tensor
    bands: Tensor
    band_values: tuple[float, ...]
    boxes: Tensor
    values: tuple[float, ...]
    photos: tuple[str, ...]
    fired: float
    whole: Tensor


@dataclass(frozen=True, eq=False)
class LayerPatches(Result):
    """What excites the channels of one layer most.

    Attributes:
        layer: the name that was asked for, or the convolution's.
        also: further names with the same value: a residual block's last convolution and its
            shortcut have one sum.
        node_name: name of the node that is looked at.
        side: side of the layer: `pre`, `post` or `output`.
        post: whether a non-linearity gave it.
        maps: height and width of its maps.
        field: rows and columns that a position sees; None where positions differ.
        beyond: whether the whole image also has a part in it, by a global operation.
        values: float32 `(C, k)`, the greatest activations, greatest first; -infinity where there
            were fewer images.
        images: int64 `(C, k)`, the number of the image of each; -1 where there is none.
        rows: int64 `(C, k)`, where in the map.
        columns: int64 `(C, k)`, likewise.
        images_fired: int64 `(C,)`, images in which the channel is above 0 somewhere.
        positions_fired: int64 `(C,)`, positions of all images at which it is.
        histogram: int32 `(C, bins)`, images by their greatest activation, in the bins of
            `convlens.analyses.patches.activation_statistics`.
        band_values: float32 `(C, b)`, the activation of one random image from each octave; 0
            where the octave had none.
        band_images: int64 `(C, b)`, its number, or -1.
        band_rows: int64 `(C, b)`, where in the map.
        band_columns: int64 `(C, b)`, likewise.
        preferred: int64 `(C,)`, the class, of those with at least five photos, that the channel
            is on average strongest for; empty without labels.
        selectivity: float32 `(C,)`, the area under the ROC curve of telling that class from the
            others by the channel's greatest activation; 0.5 is chance. The class was chosen on
            these same photos, so with few of them it is too good. Empty without labels.
        shown: the channels that pictures are kept of.
        proof: that the patches shown, and a sample of the others, are what excites.
    """

    layer: str
    also: tuple[str, ...]
    node_name: str
    side: str
    post: bool
    maps: tuple[int, int]
    field: tuple[int, int] | None
    beyond: bool
    values: Tensor
    images: Tensor
    rows: Tensor
    columns: Tensor
    images_fired: Tensor
    positions_fired: Tensor
    histogram: Tensor
    band_values: Tensor
    band_images: Tensor
    band_rows: Tensor
    band_columns: Tensor
    preferred: Tensor
    selectivity: Tensor
    shown: tuple[ChannelPatches, ...]
    crop_check: CropCheck

    @property
    def channels(self) -> int:
        """How many the layer has."""
        return len(self.values)

    @property
    def dead(self) -> tuple[int, ...]:
        """Channels that are above 0 at no position of any image.

        None where no non-linearity gave the value: being above 0 then means nothing.
        """
        if not self.post:
            return ()
        return tuple((self.images_fired == 0).nonzero().flatten().tolist())

    def quantiles(self, shares: Tensor = _SHARES) -> Tensor:
        """`(C, Q)`: the greatest activation that the given shares of images stay below.

        From fixed bins, right to 19 %.
        """
        return activation_statistics.quantiles(self.histogram, shares)

    def percentile(self, channel: int, activation: float) -> float:
        """Share of images whose greatest activation of the channel is below, from fixed bins."""
        counts = self.histogram[channel].double()
        below = int(torch.bucketize(torch.tensor(activation), activation_statistics.BIN_EDGES))
        return float(counts[:below].sum() / counts.sum().clamp(min=1))


@dataclass(frozen=True, eq=False)
class Patches(Result):
    """The strongest patches of every channel watched, from one pass over the photos.

    Attributes:
        model: its name.
        size: height and width of the images in pixels.
        photos: names of the images, by number.
        seen: how many of them were taken in.
        skipped: those that could not be read, with the reason.
        layers: in the order of execution.
        labels: names of the classes, or None.
    """

    model: str
    size: tuple[int, int]
    photos: tuple[str, ...]
    seen: int
    skipped: tuple[str, ...]
    layers: tuple[LayerPatches, ...]
    labels: tuple[str, ...] | None = None

    def __getitem__(self, layer: str) -> LayerPatches:
        """The layer of that name, or of that node.

        Raises:
            ConvlensError: none was watched under it.
        """
        for one in self.layers:
            if layer in (one.layer, one.node_name, *one.also):
                return one
        known = [one.layer for one in self.layers]
        raise ConvlensError(f"no layer {layer!r} was watched{suggest(layer, known)}")

    def pictures(self) -> dict[str, Tensor]:
        """One picture for each layer of which channels are shown."""
        return {one.layer: layer_sheet(one) for one in self.layers if one.shown}


def layer_sheet(layer: LayerPatches) -> Tensor:
    """The channels shown: a row of patches for each, then those of the bands below."""
    most = max(len(one.tiles) for one in layer.shown)
    bands = max(len(one.bands) for one in layer.shown)
    blocks = []
    for one in layer.shown:
        firing = f"strongest first; fires in {one.fired:.0%} of the photos"
        parts = [
            add_title(
                _row(one.tiles, one.values, most),
                f"{layer.layer}:{one.channel}",
                firing,
            )
        ]
        if bands:
            below = _row(one.bands, one.band_values, bands)
            parts.append(add_title(below, "", "below them: a photo of each octave"))
        blocks.append(_beside(parts))
    field = "" if layer.field is None else f"{layer.field[0]} × {layer.field[1]} pixels are seen; "
    return add_title(
        make_grid(blocks, _COLUMNS, gap=14),
        f"{layer.layer}: what excites {len(blocks)} of {layer.channels} channels most",
        f"{field}beneath each the activation at {layer.node_name}; striped: padding; "
        f"empty: no further photo",
    )


def _row(tiles: Tensor, values: Sequence[float], count: int) -> Tensor:
    """Tiles with their activations, and empty frames up to so many."""
    empty = torch.full((TILE, TILE, 3), 255, dtype=torch.uint8)
    free = count - len(tiles)
    captions = [f"{value:.3g}" for value in values] + ["none"] * free
    return make_sheet([*tiles, *[empty] * free], count, captions=captions, gap=4)


def tile(image: Tensor, seen: Box, bounds: tuple[float, float]) -> Tensor:
    """A receptive field as a picture of `TILE` pixels: uint8 `(T, T, 3)`.

    Small fields are enlarged with hard edges, large ones shrunk by averaging; proportions stay.
    Padding is striped, and drawn no broader than an eighth of what is seen of the image.

    Args:
        image: `(C, H, W)` with C of 1 or 3.
        seen: what is cut, padding included.
        bounds: of the image's pixels.
    """
    crop, inside = cut(image, _trimmed(seen, (image.shape[1], image.shape[2])))
    pixels = to_pixels(crop, bounds).expand(-1, -1, 3).contiguous()
    height, width = inside.shape
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = PilImage.Resampling.NEAREST if scale > 1 else PilImage.Resampling.BOX
    resized = np.array(PilImage.fromarray(pixels.numpy()).resize(size, how))
    kept = np.array(PilImage.fromarray(inside.numpy()).resize(size, PilImage.Resampling.NEAREST))
    drawn = torch.where(
        torch.from_numpy(kept)[..., None], torch.from_numpy(resized), _stripes(size[1], size[0])
    )
    picture = torch.full((TILE, TILE, 3), 255, dtype=torch.uint8)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    picture[top : top + size[1], left : left + size[0]] = drawn
    return picture


def framed(image: Tensor, seen: Box, bounds: tuple[float, float]) -> Tensor:
    """A whole image as a picture of `TILE` pixels with a frame around what is seen of it."""
    height, width = image.shape[1:]
    picture = tile(image, (0, height - 1, 0, width - 1), bounds)
    scale = TILE / max(height, width)
    top, bottom, left, right = (
        round(min(max(side, 0), length) * scale) + (TILE - round(length * scale)) // 2
        for side, length in (
            (seen[0], height), (seen[1] + 1, height), (seen[2], width), (seen[3] + 1, width),
        )
    )  # fmt: skip
    bottom, right = min(bottom, TILE) - 1, min(right, TILE) - 1
    frame = torch.tensor(FRAME, dtype=torch.uint8)
    picture[[top, bottom], left : right + 1] = frame
    picture[top : bottom + 1, [left, right]] = frame
    return picture


def _trimmed(seen: Box, size: tuple[int, int]) -> Box:
    """The box with no more padding on each side than an eighth of what it holds of the image."""
    sides = []
    for axis, length in enumerate(size):
        low, high = seen[2 * axis], seen[2 * axis + 1]
        first, last = max(low, 0), min(high, length - 1)
        margin = max(1, (last - first + 1) // 8)
        sides += [max(low, first - margin), min(high, last + margin)]
    return sides[0], sides[1], sides[2], sides[3]


def _stripes(height: int, width: int) -> Tensor:
    """Diagonal stripes, eight pixels from one to the next."""
    diagonal = torch.arange(height)[:, None] + torch.arange(width)
    dark = diagonal % 8 >= 4
    light, shade = (torch.tensor(color, dtype=torch.uint8) for color in _PADDING)
    return torch.where(dark[..., None], shade, light)


def _beside(parts: Sequence[Tensor]) -> Tensor:
    """Pictures of one height side by side, a gap between them."""
    gap = torch.full((parts[0].shape[0], 10, 3), 255, dtype=torch.uint8)
    pieces = [piece for part in parts for piece in (gap, part)][1:]
    return torch.cat(pieces, dim=1)


def numbers(images: Tensor) -> Tensor:
    """Image numbers with -1 for the entries that are free."""
    return torch.where(images == NO_IMAGE, -1, images)
