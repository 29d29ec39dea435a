"""The result of `match_channels`: pairs of channels, with their patches side by side."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from convlens.analyses.patches.pictures import patch_row, side_by_side
from convlens.analyses.patches.result import ChannelPatches
from convlens.drawing import add_title, new_figure, render_figure, stack_vertically
from convlens.drawing.palette import ACCENT, INK
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.text import printable
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATCHES = 5  # of each channel

_BINS = 40  # of the histogram of correlations


@dataclass(frozen=True, eq=False)
class ChannelPair(Result):
    """A channel of the first network and the one of the second network that it is matched with.

    Attributes:
        channel: number of the channel in the first network.
        second_channel: number of the channel in the second network.
        correlation: Pearson correlation of their activations.
        first_patches: the strongest patches of the first channel.
        second_patches: those of the second channel.
    """

    channel: int
    second_channel: int
    correlation: float
    first_patches: ChannelPatches
    second_patches: ChannelPatches


@dataclass(frozen=True, eq=False)
class ChannelMatching(NetworkResult):
    """The channels of a layer of each of two networks, matched one to one.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        layer: the layer of the first network, with C channels.
        second_layer: the layer of the second network.
        second_size: number of its channels.
        photos: number of photos.
        positions: number of positions that were sampled in each photo.
        partners: int64 `(C,)`, the matched channel of the second layer, or -1.
        correlations: float32 `(C,)`, Pearson correlation of the activations of both; NaN without a
            partner.
        null_mean: mean correlation of channels that are matched on other photos.
        null_high: the 95th percentile of these correlations.
        shown: pairs with patches: the most alike first, then the least alike.
    """

    folder_title: ClassVar[str] = "Matched channels"

    first: str
    second: str
    layer: str
    second_layer: str
    second_size: int
    photos: int
    positions: int
    partners: Tensor
    correlations: Tensor
    null_mean: float
    null_high: float
    shown: tuple[ChannelPair, ...]

    @property
    def matched(self) -> int:
        """Number of channels whose correlation exceeds what other photos give."""
        return int((self.correlations > self.null_high).sum())

    @property
    def in_place(self) -> int:
        """Number of channels that are matched with the channel of the same number."""
        return int((self.partners == torch.arange(len(self.partners))).sum())

    def summary(self) -> str:
        """How many channels have a counterpart, in words."""
        count = len(self.partners)
        correlations = self.correlations[~self.correlations.isnan()]
        return (
            f"{self.matched:,} of {counted(count, 'channel')} of {printable(self.layer)} have a "
            f"counterpart in {printable(self.second_layer)} ({self.second_size:,} channels) that "
            f"correlates by more than {self.null_high:.2f}, which other photos exceed in 5 %; "
            f"median correlation {float(correlations.median()) if len(correlations) else 0.0:.2f}, "
            f"{self.in_place:,} with the same number"
        )

    def table(self) -> Table:
        """The pairs with patches."""
        return Table.of(
            ["channel", "counterpart", "correlation"],
            [
                [
                    f"{self.layer}:{pair.channel}",
                    f"{self.second_layer}:{pair.second_channel}",
                    f"{pair.correlation:.2f}",
                ]
                for pair in self.shown
            ],
            total=len(self.partners),
        )

    def figure(self) -> "Figure":
        """The number of channels by the correlation with their counterpart."""
        figure = new_figure(figsize=(5.6, 2.8))
        axes = figure.subplots()
        correlations = self.correlations[~self.correlations.isnan()]
        axes.hist(correlations.numpy(), bins=_BINS, range=(-1, 1), color=ACCENT)
        axes.axvline(self.null_high, color=INK, linewidth=0.8, linestyle="--")
        axes.set_xlabel("correlation with the matched channel (dashed: 95 % of other photos)")
        axes.set_ylabel("channels")
        axes.spines[["top", "right"]].set_visible(False)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure, and a sheet of the pairs with patches."""
        pictures = {"correlations of matched channels": render_figure(self.figure(), dpi=160)}
        if self.shown:
            pictures["patches of matched channels"] = self.sheet()
        return pictures

    def sheet(self) -> Tensor:
        """For each pair shown the strongest patches of both channels, side by side."""
        rows = []
        for pair in self.shown:
            parts = [
                add_title(
                    patch_row(channel.tiles, channel.values, PATCHES), f"{layer}:{channel.channel}"
                )
                for layer, channel in (
                    (self.layer, pair.first_patches), (self.second_layer, pair.second_patches),
                )
            ]  # fmt: skip
            rows.append(add_title(side_by_side(parts), "", f"correlation {pair.correlation:.2f}"))
        return stack_vertically(*rows)
