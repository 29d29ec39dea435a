"""The result of `anatomy`: the layers of a network, and the totals of all."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from convlens.analyses.anatomy.layer import Layer
from convlens.analyses.anatomy.network_drawing import NetworkDrawing, draw_network
from convlens.drawing import render_figure
from convlens.results import Table
from convlens.results.network_result import NetworkResult
from convlens.tracing.channel_names import check_layer
from convlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Anatomy(NetworkResult):
    """The layers of a network, as traced on an image of one size.

    Attributes:
        model: name of the model.
        image: shape of the image, `(C, H, W)`.
        layers: layers in the order of execution.
        parameters: number of parameters of the network.
        unused: names of parameters that this run never read (heads used in training only).
        multiply_adds: number of multiply-adds for one image, also those by which the network
            computes weights; at least so many if there are layers that are not counted.
        final_post: name of the final convolutional layer, or None for a network without maps.
        final_pre: names of the nodes on its pre side.
        final_reason: why it is that layer.
        logits: name of the node before any softmax or sigmoid; empty for a network that returns no
            class scores, such as one that detects objects.
        valid_for: what the trace holds for.
        final_activation: final activation of the network: "softmax", "sigmoid", or empty where
            neither is known.
        prediction_rule: how its answers are read, in words, where that is not by a softmax.
        not_counted: names of layers with operations that hold parameters and have no formula.
    """

    model: str
    image: tuple[int, int, int]
    layers: tuple[Layer, ...]
    parameters: int
    unused: tuple[str, ...]
    multiply_adds: int
    final_post: str | None
    final_pre: tuple[str, ...]
    final_reason: str
    logits: str
    valid_for: str
    final_activation: str = ""
    prediction_rule: str = ""
    not_counted: tuple[str, ...] = ()

    def summary(self) -> str:
        """Sizes and costs in words."""
        shape = " × ".join(map(str, self.image))
        least = "at least " if self.not_counted else ""
        words = (
            f"{self.model} on {shape}: {counted(len(self.layers), 'layer')}, {self.parameters:,} "
            f"parameters, {least}{self.multiply_adds:,} multiply-adds"
        )
        return words + (f"; final convolutional layer {self.final_post}" if self.final_post else "")

    def table(self) -> Table:
        """The convolutions and the fully connected layers, in the order of execution."""
        return Table.of(
            ["layer", "kind", "output", "parameters", "multiply-adds", "field"],
            [
                [
                    layer.name,
                    layer.kind,
                    " × ".join(map(str, layer.output[1:])),
                    f"{layer.parameters:,}",
                    f"{layer.multiply_adds:,}",
                    " × ".join(map(str, layer.field_size)) if layer.field_size else "",
                ]
                for layer in self.layers
                if layer.by_formula is not None
            ],
        )

    def drawing(self) -> NetworkDrawing:
        """The network as boxes and lines; see `NetworkDrawing`."""
        return draw_network(self.image, self.layers)

    def figure(self) -> "Figure":
        """The network drawn as a matplotlib figure, with a box for each layer that computes.

        The height of a box grows with the square root of the rows of its output, the width with
        that of the channels. Branches lie below each other; lines above the boxes skip layers.
        """
        channels, height, width = self.image
        title = (
            f"{self.model} on {channels}×{height}×{width}: {self.parameters:,} parameters, "
            f"{'at least ' if self.not_counted else ''}{self.multiply_adds:,} multiply-adds"
        )
        from convlens.analyses.anatomy.network_figure import plot_network  # imports matplotlib

        return plot_network(self.drawing(), title)

    def pictures(self) -> dict[str, Tensor]:
        """The drawing of the network."""
        return {"network": render_figure(self.figure())}

    def select_layers(self, name: str) -> tuple[Layer, ...]:
        """All runs of the layer of that name, or all layers inside the module of that name.

        Raises:
            ConvlensError: there is no such layer. The message suggests the nearest names.
        """
        prefixes = tuple(name + mark for mark in ".#/")
        selected = tuple(
            layer for layer in self.layers if layer.name == name or layer.name.startswith(prefixes)
        )
        if not selected:
            check_layer(self.model, name, [layer.name for layer in self.layers])
        return selected
