"""The results of `patches`: the strongest patches of each channel, by layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from convlens.analyses.patches import activation_statistics
from convlens.analyses.patches.crop_check_result import CropCheck
from convlens.analyses.patches.pictures import patch_row, side_by_side
from convlens.data.sampling import spread
from convlens.drawing import Panel, add_title, make_grid, picture_figure
from convlens.errors import ConvlensError, suggest
from convlens.models.labels import class_name
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_ROWS, _MOST_PATCHES = 8, 9  # channels, and patches of each, in a figure
_LARGEST = 0.9  # inches of a patch in a figure
_COLUMNS = 2  # of channels in a picture
_SHARES = torch.tensor([0.5, 0.9, 0.99], dtype=torch.float32, device="cpu")


@dataclass(frozen=True, eq=False)
class ChannelPatches(Result):
    """The patches of one channel, as pictures.

    Attributes:
        channel: the channel's number, from 0.
        tiles: uint8 `(k, T, T, 3)`, the receptive field of each patch, enlarged or shrunk to the
            tile, the strongest first; stripes are padding. Photos in which a channel behind a
            non-linearity does not fire are left out.
        bands: uint8 `(b, T, T, 3)`, a random image from each octave of activation below the
            strongest.
        band_values: the activation of each of these images.
        boxes: int64 `(k, 4)`, first and last row, first and last column of each patch in its
            image; what lies outside the image is padding.
        values: the activation of each patch.
        photos: name of the image of each patch.
        fired: share of all images in which the channel is above 0 somewhere.
        framed_image: uint8 `(T, T, 3)`, the image of the strongest patch with its field framed;
            empty for a channel without patches, which fires in no photo.
    """

    channel: int
    tiles: Tensor
    bands: Tensor
    band_values: tuple[float, ...]
    boxes: Tensor
    values: tuple[float, ...]
    photos: tuple[str, ...]
    fired: float
    framed_image: Tensor


@dataclass(frozen=True, eq=False)
class LayerPatches(Result):
    """The strongest patches of the channels of one layer.

    Attributes:
        layer: the layer's name as the caller gave it, or the convolution's name.
        also: further names of the same node: a residual block's last convolution and its shortcut
            share one sum.
        node_name: name of the node at which the channels are read.
        side: side of the layer: `pre`, `post` or `output`.
        post: whether the node is the output of a non-linearity.
        map_size: height and width of its maps.
        field_size: rows and columns that a position sees; None where positions differ.
        sees_whole_image: whether the layer also depends on the whole image by a global operation.
        values: float32 `(C, k)`, the greatest activations, the strongest first; -infinity where
            there were fewer images.
        images: int64 `(C, k)`, number of the image of each; -1 where there is none.
        rows: int64 `(C, k)`, row of each in the map.
        columns: int64 `(C, k)`, column of each in the map.
        images_fired: int64 `(C,)`, number of images in which the channel is above 0 somewhere.
        positions_fired: int64 `(C,)`, number of positions of all images at which it is above 0.
        histogram: int32 `(C, bins)`, number of images by their greatest activation, in the bins of
            `convlens.analyses.patches.activation_statistics`.
        band_values: float32 `(C, b)`, the activation of one random image from each octave; 0 where
            the octave had none.
        band_images: int64 `(C, b)`, number of that image, or -1.
        band_rows: int64 `(C, b)`, its row in the map.
        band_columns: int64 `(C, b)`, its column in the map.
        preferred_class: int64 `(C,)`, the class for which the channel is strongest on average,
            among the classes with at least five photos; empty without labels.
        selectivity: float32 `(C,)`, area under the ROC curve of telling that class from the others
            by the channel's greatest activation; 0.5 is chance. The class was chosen on these same
            photos, so that the area is too large where there are few. Empty without labels.
        shown: the channels with pictures.
        crop_check: whether the patches shown, and a sample of the others, have the same activation
            when they are run alone.
    """

    layer: str
    also: tuple[str, ...]
    node_name: str
    side: str
    post: bool
    map_size: tuple[int, int]
    field_size: tuple[int, int] | None
    sees_whole_image: bool
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
    preferred_class: Tensor
    selectivity: Tensor
    shown: tuple[ChannelPatches, ...]
    crop_check: CropCheck

    @property
    def channels(self) -> int:
        """Number of channels of the layer."""
        return len(self.values)

    @property
    def dead(self) -> tuple[int, ...]:
        """Channels that are above 0 at no position of any image.

        Empty where the node is not the output of a non-linearity, because 0 is no threshold then.
        """
        if not self.post:
            return ()
        return tuple((self.images_fired == 0).nonzero().flatten().tolist())

    def quantiles(self, shares: Tensor = _SHARES) -> Tensor:
        """Estimate the activations below which given shares of the images stay, to within 19 %.

        Args:
            shares: `(Q,)`, from 0 to 1; default 0.5, 0.9 and 0.99.

        Returns:
            float32 `(C, Q)`, from fixed bins.
        """
        return activation_statistics.quantiles(self.histogram, shares)

    def percentile(self, channel: int, activation: float) -> float:
        """Share of images whose greatest activation of a channel is below a value.

        Args:
            channel: the channel's number, from 0.
            activation: the value; it is compared by fixed bins.
        """
        counts = self.histogram[channel].double()
        below = int(
            torch.bucketize(
                torch.tensor(activation, dtype=torch.float32), activation_statistics.BIN_EDGES
            )
        )
        return float(counts[:below].sum() / counts.sum().clamp(min=1))

    def summary(self) -> str:
        """How many channels fire, what a unit sees, and the evidence, in words."""
        words = f"{counted(self.channels, 'channel')} of {self.layer}"
        if self.post:
            words += _dead_words(len(self.dead))
        if self.field_size is not None:
            words += f"; a unit sees {self.field_size[0]} × {self.field_size[1]} pixels"
        check = self.crop_check.summary()
        return f"{words}; {check}" if check else words

    def table(self) -> Table:
        """The channels shown with their strongest activation."""
        return Table.of(
            ["channel", "strongest", "photo", "fires on"],
            [
                [
                    str(entry.channel),
                    f"{entry.values[0]:.3g}" if entry.values else "",
                    PurePath(entry.photos[0]).name if entry.photos else "",
                    percent(entry.fired),
                ]
                for entry in self.shown
            ],
        )

    def figure(self) -> "Figure":
        """A row of patches for each channel shown, at most eight.

        Raises:
            ConvlensError: no channel is shown.
        """
        entries = [entry for entry in self.shown if len(entry.tiles)][:_MOST_ROWS]
        return picture_figure(
            list(map(self.panels, entries)),
            title=f"{self.layer}: the strongest patches, with the activation at {self.node_name}",
            sides=[f"{self.layer}:{entry.channel}" for entry in entries],
            largest=_LARGEST,
        )

    def panels(self, channel: ChannelPatches) -> list[Panel]:
        """The patches of one channel as panels of a figure, the strongest first.

        Args:
            channel: one of `shown`.
        """
        pairs = zip(channel.tiles, channel.values, strict=False)
        return [Panel(tile, f"{value:.3g}") for tile, value in pairs][:_MOST_PATCHES]

    def sheet(self) -> Tensor:
        """A picture of the channels shown: for each a row of patches, then those of the octaves.

        Returns:
            uint8 `(H, W, 3)`.
        """
        most = max(1, *(len(channel.tiles) for channel in self.shown))
        bands = max(len(channel.bands) for channel in self.shown)
        blocks = []
        for channel in self.shown:
            strongest = add_title(
                patch_row(channel.tiles, channel.values, most),
                f"{self.layer}:{channel.channel}",
                f"strongest first; fires in {percent(channel.fired)} of the photos",
            )
            parts = [strongest]
            if bands:
                below = patch_row(channel.bands, channel.band_values, bands)
                parts.append(add_title(below, "", "below them: a photo of each octave"))
            blocks.append(side_by_side(parts))
        field = ""
        if self.field_size is not None:
            field = f"{self.field_size[0]} × {self.field_size[1]} pixels are seen; "
        return add_title(
            make_grid(blocks, _COLUMNS, gap=14),
            f"{self.layer}: what activates {len(blocks)} of {counted(self.channels, 'channel')} "
            f"most",
            f"{field}beneath each the activation at {self.node_name}; striped: padding; "
            f"empty: no further photo in which it fires",
        )


@dataclass(frozen=True, eq=False)
class Patches(NetworkResult):
    """The strongest patches of every channel, from one pass over the photos.

    Attributes:
        model: name of the model.
        size: height and width of the images in pixels.
        photos: names of the images, by number.
        images_read: number of images that were read.
        skipped: the reason for each image that could not be read.
        layers: the layers, in the order of execution.
        labels: names of the classes, or None.
        left_out: the convolutions without patches, with the reason, where all were asked for.
    """

    # Those that matter stand beside each channel.
    numbers_fields: ClassVar[Mapping[str, None]] = {"photos": None, "labels": None}

    model: str
    size: tuple[int, int]
    photos: tuple[str, ...]
    images_read: int
    skipped: tuple[str, ...]
    layers: tuple[LayerPatches, ...]
    labels: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()

    def __getitem__(self, layer: str) -> LayerPatches:
        """The patches of a layer, by its name or the name of its node.

        Raises:
            ConvlensError: there are no patches of that layer.
        """
        for layer_patches in self.layers:
            if layer in (layer_patches.layer, layer_patches.node_name, *layer_patches.also):
                return layer_patches
        layers = [layer_patches.layer for layer_patches in self.layers]
        raise ConvlensError(f"no patches of layer {layer!r}{suggest(layer, layers)}")

    def summary(self) -> str:
        """How much was read, and how many channels never fire, in words."""
        channels = sum(layer.channels for layer in self.layers)
        dead = sum(len(layer.dead) for layer in self.layers)
        words = (
            f"{self.model} on {counted(self.images_read, 'photo')}: "
            f"{counted(channels, 'channel')} of {counted(len(self.layers), 'layer')}"
        )
        # Before a non-linearity, 0 is no threshold and a channel below it need not be dead.
        zero_is_threshold = dead or all(layer.post for layer in self.layers)
        return words + (_dead_words(dead) if zero_is_threshold else "")

    def table(self) -> Table:
        """The layers with what their units see, and the evidence of their patches."""
        return Table.of(
            ["layer", "channels", "never fire", "field", "crops run again"],
            [
                [
                    layer.layer,
                    str(layer.channels),
                    str(len(layer.dead)) if layer.post else "",
                    " × ".join(map(str, layer.field_size)) if layer.field_size else "",
                    layer.crop_check.short_summary(),
                ]
                for layer in self.layers
            ],
        )

    def figure(self) -> "Figure":
        """A row of patches for the channels shown, at most eight, spread over the layers.

        Raises:
            ConvlensError: no channel is shown.
        """
        every_row = [
            (layer, entry) for layer in self.layers for entry in layer.shown if len(entry.tiles)
        ]
        rows = spread(every_row, _MOST_ROWS)
        return picture_figure(
            [layer.panels(entry) for layer, entry in rows],
            title=f"{self.model}: the strongest patches, with their activations",
            sides=[f"{layer.layer}:{entry.channel}" for layer, entry in rows],
            largest=_LARGEST,
        )

    def numbers_json(self) -> dict[str, Any]:
        """The fields, with the numbers of each channel that has pictures beside its patches."""
        numbers = super().numbers_json()
        for plain, layer in zip(numbers["layers"], self.layers, strict=True):
            for entry, patches in zip(plain["shown"], layer.shown, strict=True):
                entry["images_fired"] = int(layer.images_fired[patches.channel])
                entry["positions_fired"] = int(layer.positions_fired[patches.channel])
                entry["boxes"] = patches.boxes.tolist()
                if len(layer.selectivity):
                    area = float(layer.selectivity[patches.channel])
                    preferred = int(layer.preferred_class[patches.channel])
                    entry["class"] = class_name(self.labels, preferred)
                    entry["selectivity"] = None if math.isnan(area) else area
        return numbers

    def pictures(self) -> dict[str, Tensor]:
        """A sheet for each layer of which channels are shown, by the layer's name."""
        return {
            layer_patches.layer: layer_patches.sheet()
            for layer_patches in self.layers
            if layer_patches.shown
        }


def _dead_words(dead: int) -> str:
    """How many channels never fire, as the end of a sentence."""
    if not dead:
        return ", each of which fires on some photo"
    return f", {dead} of which never {'fires' if dead == 1 else 'fire'}"
