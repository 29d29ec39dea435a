"""The result of comparing two networks layer by layer, and its figure."""

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from convlens.drawing import new_figure, render_figure
from convlens.drawing.figures import without_middle
from convlens.drawing.palette import ACCENT, LINE, MUTED
from convlens.errors import ConvlensError
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.text import plot_text, printable
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARGIN = 1.001  # the sums of squares are rounded, too


@dataclass(frozen=True, eq=False)
class LayerDifference(Result):
    """The difference of two networks at one node.

    Attributes:
        name: name of the node in the first network.
        equal: whether all values are equal in every bit.
        difference: root mean square of the difference in the channel where it is greatest, relative
            to the root mean square of the whole node.
        rounding: the same of the rounding errors of both networks together, over the images on
            which the node is not equal; NaN if they were not measured.
        channel: that channel.
        differing_channels: number of channels that are not equal in every bit.
        channels: number of channels.
    """

    name: str
    equal: bool
    difference: float
    rounding: float
    channel: int
    differing_channels: int
    channels: int

    @property
    def exceeds(self) -> bool:
        """Whether the difference is greater than rounding errors explain.

        A difference of NaN or infinity is, unless all values are equal.
        """
        if not isfinite(self.difference):
            return not self.equal
        return self.difference > self.rounding * _MARGIN


@dataclass(frozen=True, eq=False)
class LayerDifferences(NetworkResult):
    """The differences of two networks from node to node.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        images: number of images.
        layers: the nodes that are compared, in the order of execution.
        every_node: whether both execute the same operations, so that every node is compared;
            otherwise what follows each convolution and its non-linearity is.
        reason: why no layers are compared, in words; usually empty.
        no_rounding: why rounding errors were not measured, in words; usually empty.
        input_change: how the input of the first convolution differs, in words; empty if it is the
            same, or does not follow from that of the first network channel by channel.
        converted: which network was converted to the type of the other one, in words; empty if both
            have the same type.
    """

    folder_title: ClassVar[str] = "Difference of two networks, layer by layer"

    first: str
    second: str
    images: int
    layers: tuple[LayerDifference, ...]
    every_node: bool
    reason: str = ""
    no_rounding: str = ""
    input_change: str = ""
    converted: str = ""

    @property
    def identical(self) -> bool:
        """Whether every node that is compared is equal in every bit."""
        return bool(self.layers) and all(layer.equal for layer in self.layers)

    @property
    def first_exceeding(self) -> LayerDifference | None:
        """The first node that differs by more than rounding errors; None if there is none."""
        return next((layer for layer in self.layers if layer.exceeds), None)

    def summary(self) -> str:
        """The first layer that differs, in words."""
        lines = [self._summarize_layers()]
        if self.converted:
            lines.append(f"for this comparison, {self.converted}")
        if self.input_change:
            lines.append(
                f"the first convolution of the second network receives {self.input_change}"
            )
        if self.layers and self.reason:
            lines.append(f"inner layers were not compared: {self.reason}")
        return "\n".join(lines)

    def _summarize_layers(self) -> str:
        if not self.layers:
            return f"no layers were compared: {self.reason}"
        noun = "node" if self.every_node else "layer"
        where = " of the images and the logits" if self.reason else ""
        unequal = next((layer for layer in self.layers if not layer.equal), None)
        if unequal is None:
            return (
                f"all {counted(len(self.layers), noun)} are equal in every bit on "
                f"{counted(self.images, 'photo')}"
            )
        if self.no_rounding:
            return (
                f"the first {noun}{where} that is not equal in every bit is "
                f"{printable(unequal.name)}, "
                f"which differs by {unequal.difference:.2g} of its values (RMS); rounding errors "
                f"could not be measured, {self.no_rounding}"
            )
        layer = self.first_exceeding
        if layer is None:
            largest = max(self.layers, key=lambda entry: entry.difference)
            return (
                f"no {noun} differs by more than rounding errors; the greatest difference is "
                f"{largest.difference:.2g} of the values of {printable(largest.name)} (RMS), and "
                f"rounding explains up to {largest.rounding:.2g}"
            )
        channels = (
            f" in {layer.differing_channels:,} of {counted(layer.channels, 'channel')}"
            if layer.channels > 1
            else ""
        )
        return (
            f"the first {noun}{where} that differs by more than rounding errors is "
            f"{printable(layer.name)},{channels}: by {layer.difference:.2g} of its values (RMS) in "
            f"channel {layer.channel}, where rounding explains up to {layer.rounding:.1g}"
        )

    def table(self) -> Table:
        """The nodes from the first one that differs, with what rounding explains."""
        start = next((place for place, layer in enumerate(self.layers) if not layer.equal), 0)
        return Table.of(
            ["node", "difference (RMS)", "rounding", "channels that differ"],
            [
                [
                    layer.name,
                    f"{layer.difference:.2g}",
                    f"{layer.rounding:.2g}",
                    f"{layer.differing_channels:,} of {layer.channels:,}",
                ]
                for layer in self.layers[start:]
            ],
            total=len(self.layers),
        )

    def figure(self) -> "Figure":
        """The difference and the rounding errors from node to node, on a logarithmic axis.

        Raises:
            ConvlensError: no layers were compared.
        """
        if not self.layers:
            raise ConvlensError(f"no layers were compared: {self.reason}")
        figure = new_figure(figsize=(7.0, 3.2))
        axes = figure.subplots()
        numbers = range(len(self.layers))
        axes.plot(
            numbers, [_on_log_axis(layer.difference) for layer in self.layers], "o-", ms=3,
            color=ACCENT, linewidth=1.2, label="difference of the two networks",
        )  # fmt: skip
        axes.plot(
            numbers, [_on_log_axis(layer.rounding) for layer in self.layers], "--", color=MUTED,
            linewidth=1.2, label="rounding errors of both",
        )  # fmt: skip
        exceeding = self.first_exceeding
        if exceeding is not None:
            place = self.layers.index(exceeding)
            axes.axvline(place, color=LINE, linewidth=0.8)
            axes.text(
                place, 1.02, plot_text(without_middle(printable(exceeding.name), 60)),
                transform=axes.get_xaxis_transform(), fontsize=7,
                ha="left" if place < len(self.layers) / 2 else "right",
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlim(-1, len(self.layers))
        axes.set_xlabel("node, in the order of execution")
        axes.set_ylabel("relative to the node (RMS)")
        axes.set_title(plot_text(printable(f"{self.first} and {self.second}")), fontsize=9, pad=16)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure, unless every node is equal, or only images and logits are compared."""
        if not self.layers or self.identical or self.reason:
            return {}
        return {"difference by layer": render_figure(self.figure(), dpi=160)}


def _on_log_axis(value: float) -> float:
    """A value on a logarithmic axis; zeros and NaN are left out."""
    return value if value > 0 else float("nan")
