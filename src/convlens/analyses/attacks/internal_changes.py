"""The channels that an attack changes most, and Grad-CAM before and after it.

The change of a channel is the norm of the difference of its two maps, relative to the norms of the
maps themselves, before and after, and to those of its layer:

    |A' - A| / sqrt((|A|² + |A'|²) / 2 + (the mean of this over the layer's channels))

with norms over all positions of all images. 0 is no change. Unrelated maps give 1 for a channel
that is as active as its layer on average, and at most 1.41. Without the layer's part, a channel
that is hardly active would show the largest change whenever it falls silent. The change of a whole
layer has no such part: there unrelated maps give 1.41 and maps of opposite sign 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.attacks.figures import MOST_IMAGES, of_255
from convlens.analyses.attacks.steps import fgsm_step
from convlens.analyses.gradcam.gradcam import GradCam, gradcam
from convlens.analyses.predictions.predictions import compute_logits
from convlens.capture.gradients import enable_gradients
from convlens.capture.nodes import stream_nodes
from convlens.drawing import Panel, Scale, new_figure, picture_figure
from convlens.errors import ConvlensError
from convlens.models.labels import class_names
from convlens.models.model import Model, check_model
from convlens.models.output_head import predicted_classes
from convlens.passes.random_numbers import random_signs
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.text import plot_text
from convlens.tracing.selection import ChannelSource, Side, find_channel_sources
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network
from convlens.wording import of_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LayerChange(Result):
    """What an attack changes in one layer.

    Attributes:
        layer: the name of the layer.
        node_name: the name of the node whose values are compared.
        side: the side of the layer: `pre`, `post` or `output`.
        change: the change of the whole layer (see the module's formula).
        noise_change: the same under random signs.
        channels: int64 `(K,)`, the channels that change most, in descending order.
        changes: float32 `(K,)`, their changes.
        noise_changes: float32 `(K,)`, their changes under random signs.
    """

    layer: str
    node_name: str
    side: str
    change: float
    noise_change: float
    channels: Tensor
    changes: Tensor
    noise_changes: Tensor


@dataclass(frozen=True, eq=False)
class InternalChanges(NetworkResult):
    """What an attack of one size changes inside the network.

    Attributes:
        model: the name of the model.
        epsilon: the largest change of a pixel, in the units of the image.
        fraction: the same, as a fraction of the span of the bounds.
        layers: the layers in the order in which the network executes them.
        predictions: the name of the prediction for each image.
        adversarial_predictions: the name of the prediction for each adversarial image.
        before: Grad-CAM of the images, for the predictions before and after; None for a network
            without a final convolutional layer.
        after: Grad-CAM of the adversarial images, for the same classes.
    """

    model: str
    epsilon: float
    fraction: float
    layers: tuple[LayerChange, ...]
    predictions: tuple[str, ...]
    adversarial_predictions: tuple[str, ...]
    before: GradCam | None
    after: GradCam | None

    def most_changed(self, count: int = 5) -> list[tuple[str, int, float, float]]:
        """The channels that the attack changes most beyond what random signs do.

        Args:
            count: how many channels; default: 5.

        Returns:
            For each its layer, its number, its change, and its change under random signs.
        """
        rows = [
            (layer.layer, channel, change, noise_change)
            for layer in self.layers
            for channel, change, noise_change in zip(
                layer.channels.tolist(),
                layer.changes.tolist(),
                layer.noise_changes.tolist(),
                strict=True,
            )
        ]
        return sorted(rows, key=lambda row: row[2] - row[3], reverse=True)[:count]

    def summary(self) -> str:
        """The layer and the channel that change most, in words."""
        at = f"FGSM at {of_255(self.fraction)}"
        if not self.layers:
            return f"{at}: no layer was compared"
        layer = max(self.layers, key=lambda entry: entry.change)
        words = (
            f"{at} changes {layer.layer} most, by {layer.change:.2f} of its activations (random "
            f"signs {layer.noise_change:.2f})"
        )
        channels = self.most_changed(1)
        if channels:
            name, channel, change, noise_change = channels[0]
            words += f", and of all channels {name}:{channel}, by {change:.2f} ({noise_change:.2f})"
        return words

    def table(self) -> Table:
        """The channels that change most beyond what random signs do."""
        return Table.of(
            ["channel", "change", "by random signs"],
            [
                [f"{layer}:{channel}", f"{change:.2f}", f"{noise_change:.2f}"]
                for layer, channel, change, noise_change in self.most_changed()
            ],
        )

    def figure(self) -> "Figure":
        """For each image Grad-CAM before and after the attack; else the change of every layer.

        At most six images are drawn, each with the map of its prediction, on one scale.
        """
        if self.before is None or self.after is None:
            return self._plot_layers()
        scale = max(self.before.scale, self.after.scale)
        count = min(len(self.predictions), MOST_IMAGES)
        before, after = (cam.overlays(scale) for cam in (self.before, self.after))
        photos, adversarial = self.before.photos(), self.after.photos()
        rows = [
            [
                Panel(photos[image], f"original\n{self.predictions[image]}"),
                Panel(before[image][0], f"map of\n{self.predictions[image]}"),
                Panel(
                    adversarial[image],
                    f"epsilon {of_255(self.fraction)}\n{self.adversarial_predictions[image]}",
                ),
                Panel(after[image][1], f"map of\n{self.adversarial_predictions[image]}"),
            ]
            for image in range(count)
        ]
        some = f"; {count} of {len(self.predictions)} images" * (count < len(self.predictions))
        return picture_figure(
            rows,
            title=f"{self.model}: Grad-CAM at {self.before.channel_layer} before and after "
            f"FGSM{some}",
            scale=Scale("overlay", -scale, scale, "logit"),
        )

    def _plot_layers(self) -> "Figure":
        """The change of every layer, by the attack and by random signs."""
        figure = new_figure(figsize=(5.6, 3.2))
        axes = figure.subplots()
        numbers = range(len(self.layers))
        axes.plot(numbers, [layer.change for layer in self.layers], "o-", ms=3, label="FGSM")
        axes.plot(
            numbers, [layer.noise_change for layer in self.layers], "s--", ms=3,
            label="random signs",
        )  # fmt: skip
        axes.set_xlabel("layer, in the order of execution")
        axes.set_ylabel("relative change of activations")
        axes.set_title(plot_text(f"{self.model}, epsilon {of_255(self.fraction)}"), fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """Grad-CAM of each prediction on its image, before and after, on one scale."""
        if self.before is None or self.after is None:
            return {}
        scale = max(self.before.scale, self.after.scale)
        pictures = {}
        for image in range(len(self.predictions)):
            for when, cam, rank in (("before", self.before, 0), ("after", self.after, 1)):
                words = f"{when}, {cam.names[image][rank]} at {cam.channel_layer}"
                name = of_image(image, len(self.predictions), words)
                pictures[name] = cam.overlays(scale)[image][rank]
        return pictures


@keep_warnings
@enable_gradients()
def internal_changes(
    model: Model,
    attack: Fgsm,
    *,
    index: int = -1,
    layers: Sequence[str] | None = None,
    side: Side = "post",
    top: int = 5,
    seed: int = 0,
) -> InternalChanges:
    """Find the channels that an attack changes most, and explain the predictions by Grad-CAM.

    Each image, its adversarial image and the image with random signs run through the network once.
    The formula of the change, which is convlens's own, is at the top of this module.

    Args:
        model: the model that was attacked; left untouched.
        attack: from `fgsm`.
        index: which of its epsilons; default: the last.
        layers: names of layers or nodes. Default: all convolutions with maps.
        side: the side of the layers that is compared: `post`, `pre` or `output`. Default: `post`.
        top: the number of channels that are named for each layer; default 5.
        seed: seed of the random signs; default 0.

    Returns:
        The change of every layer, with its most changed channels.

    Raises:
        ConvlensError: if there is no such epsilon, no channel to name, or no such layer.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(4 * 6 * 6, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> attack = convlens.fgsm(model, torch.rand(1, 3, 8, 8), ["8/255"])
        >>> changes = convlens.internal_changes(model, attack, top=2)
        >>> [(layer.layer, len(layer.channels)) for layer in changes.layers]
        [('0', 2)]
    """
    check_model(model)
    if not -len(attack.epsilons) <= index < len(attack.epsilons):
        raise ConvlensError(
            f"no epsilon number {index}; give 0 to {len(attack.epsilons) - 1}, or -1 for the last"
        )
    if top < 1:
        raise ConvlensError(f"top {top}; give at least 1")
    epsilon, device = attack.epsilons[index], model.device
    images, signs = attack.images.to(device), attack.signs.to(device).to(attack.images.dtype)
    adversarial = fgsm_step(images, signs, epsilon, attack.bounds)
    noise_signs = random_signs(images, torch.arange(len(images)), seed) * signs.abs()
    noisy = fgsm_step(images, noise_signs, epsilon, attack.bounds)
    trace = trace_network(model, images)
    sources = find_channel_sources(trace, layers, side)
    squares = {
        source.node: torch.zeros(5, source.channels, dtype=torch.float64) for source in sources
    }
    # One image at a time, with its two variants: the maps of all layers are not kept.
    for variants in zip(images, adversarial, noisy, strict=True):
        batch = torch.stack(variants).contiguous(memory_format=torch.channels_last)
        stream_nodes(model, trace, batch, squares.keys(), partial(_add_squares, trace, squares))
    predictions = [
        predicted_classes(compute_logits(model, trace, batch), trace.output_head)
        for batch in (images, adversarial)
    ]
    names, adversarial_names = (
        class_names(model.labels, classes.tolist()) for classes in predictions
    )
    before, after = None, None
    if trace.final_layer is not None:
        # A network with one output has one class to explain, whatever it predicts.
        classes = torch.stack(predictions, dim=1).clamp(min=0)
        before, after = (gradcam(model, batch, classes=classes) for batch in (images, adversarial))
    return InternalChanges(
        model=model.name,
        epsilon=epsilon,
        fraction=attack.fractions[index],
        layers=tuple(_layer_change(source, squares[source.node], top) for source in sources),
        predictions=names,
        adversarial_predictions=adversarial_names,
        before=before,
        after=after,
    )


def _add_squares(trace: Trace, squares: dict[int, Tensor], node: int, maps: Tensor) -> None:
    """Add the squared norm of each channel of: image, x', noise, and the two differences."""
    image, adversarial, noisy = trace.channels_first(node, maps).float()
    parts = (image, adversarial, noisy, adversarial - image, noisy - image)
    squares[node] += torch.stack([part.square().sum(dim=(1, 2)) for part in parts]).double().cpu()


def _layer_change(source: ChannelSource, squares: Tensor, top: int) -> LayerChange:
    image, adversarial, noisy, attack_difference, noise_difference = squares
    changes = _relative_change(attack_difference, (image + adversarial) / 2)
    noise_changes = _relative_change(noise_difference, (image + noisy) / 2)
    order = changes.argsort(descending=True, stable=True)[:top]
    whole = squares.sum(dim=1)
    return LayerChange(
        layer=source.layer,
        node_name=source.node_name,
        side=source.side,
        change=float(_relative_change(whole[3], (whole[0] + whole[1]) / 2)),
        noise_change=float(_relative_change(whole[4], (whole[0] + whole[2]) / 2)),
        channels=order,
        changes=changes[order].float(),
        noise_changes=noise_changes[order].float(),
    )


def _relative_change(squared_difference: Tensor, squared_norm: Tensor) -> Tensor:
    """The formula of the module for channels `(C,)` or a whole layer `()`; 0 where all is 0."""
    if squared_norm.ndim:
        squared_norm = squared_norm + squared_norm.mean()
    return torch.where(squared_norm > 0, squared_difference / squared_norm, 0.0).sqrt()
