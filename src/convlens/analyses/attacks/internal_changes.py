"""Inside: what an attack changes in the network, beside what random signs of its size change.

A channel's change is the root mean square of the difference between its two maps over that of the
maps themselves, before and after, and of its layer's:

    |A' - A| / sqrt((|A|² + |A'|²) / 2 + (the mean of this over the layer's channels))

with norms over all positions of all images. 0 is no change. Maps that have nothing to do with each
other come to 1 for a channel that fires as much as its layer does, and to at most 1.41. Without the
layer's part a channel that hardly fires would change most whenever it falls silent. The layer as a
whole is taken by itself: there 1.41 is unrelated, 2 the opposite sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from convlens.analyses.attacks import draws
from convlens.analyses.attacks.fgsm import Fgsm, step
from convlens.analyses.gradcam.gradcam import GradCam, gradcam
from convlens.analyses.patches.top_patches import ChannelSource, find_channel_sources
from convlens.analyses.predictions.predictions import class_scores
from convlens.capture import recording, stream
from convlens.errors import ConvlensError
from convlens.models.labels import class_name
from convlens.models.model import Model, check_model
from convlens.models.output_head import predicted_classes
from convlens.results import Result
from convlens.tracing.trace import Trace, trace


@dataclass(frozen=True, eq=False)
class LayerChange(Result):
    """What changed in one layer.

    Attributes:
        layer: its name.
        node_name: name of the node that was compared.
        change: of the whole layer, as for a channel.
        noise_change: the same under random signs.
        channels: int64 `(K,)`, those that changed most, the most first.
        changes: float32 `(K,)`, by how much.
        noise_changes: float32 `(K,)`, these under random signs.
    """

    layer: str
    node_name: str
    change: float
    noise_change: float
    channels: Tensor
    changes: Tensor
    noise_changes: Tensor


@dataclass(frozen=True, eq=False)
class InternalChanges(Result):
    """What an attack of one size changes inside.

    Attributes:
        model: its name.
        epsilon: largest change of a pixel, in the image's units.
        fraction: the same, of the span of the bounds.
        layers: in the order of execution.
        predictions: names of the answers before, by image.
        adversarial_predictions: names of the answers after.
        before: Grad-CAM of the images, for the answers before and after; None for a network
            without a final convolutional layer.
        after: the same maps of the adversarial images.
    """

    model: str
    epsilon: float
    fraction: float
    layers: tuple[LayerChange, ...]
    predictions: tuple[str, ...]
    adversarial_predictions: tuple[str, ...]
    before: GradCam | None
    after: GradCam | None

    def most(self, count: int = 5) -> list[tuple[str, int, float, float]]:
        """Layer, channel, change and change under random signs of those that changed most."""
        rows = [
            (one.layer, channel, change, noise)
            for one in self.layers
            for channel, change, noise in zip(
                one.channels.tolist(), one.changes.tolist(), one.noise_changes.tolist(), strict=True
            )
        ]
        return sorted(rows, key=lambda row: row[2] - row[3], reverse=True)[:count]

    def pictures(self) -> dict[str, Tensor]:
        """Grad-CAM of the answer before on the image, and of the answer after on x', one scale."""
        if self.before is None or self.after is None:
            return {}
        scale = max(self.before.scale, self.after.scale)
        found = {}
        for image in range(len(self.predictions)):
            found[f"{image}-before"] = self.before.overlays(scale)[image][0]
            found[f"{image}-after"] = self.after.overlays(scale)[image][1]
        return found


@recording()
def internal_changes(
    model: Model,
    attack: Fgsm,
    *,
    index: int = -1,
    layers: Sequence[str] | None = None,
    top: int = 5,
    seed: int = 0,
) -> InternalChanges:
    """Which channels an attack changes most, and where the network looks before and after.

    One forward pass of image, adversarial image and random signs, and Grad-CAM of the two.

    Args:
        model: that was attacked, left untouched.
        attack: from `fgsm`.
        index: which of its epsilons; default: the last.
        layers: as for `patches`: a convolution stands for its post side; default: all.
        top: channels that are named for each layer.
        seed: of the random signs.

    Raises:
        ConvlensError: no such epsilon, no channels to name, an unknown layer.
    """
    check_model(model)
    if not -len(attack.epsilons) <= index < len(attack.epsilons):
        raise ConvlensError(f"epsilon number {index} of {len(attack.epsilons)}")
    if top < 1:
        raise ConvlensError(f"top {top}; give at least 1")
    size, device = attack.epsilons[index], model.device
    images, signs = attack.images.to(device), attack.signs.to(device).to(attack.images.dtype)
    changed = step(images, signs, size, attack.bounds)
    drawn = draws.signs(images, torch.arange(len(images)), seed) * signs.abs()
    noise = step(images, drawn, size, attack.bounds)
    found = trace(model, images)
    channel_sources = find_channel_sources(found, layers)
    sums = {one.node: torch.zeros(5, one.channels, dtype=torch.float64) for one in channel_sources}
    # One image at a time, with its two variants: maps of all layers are compared and forgotten.
    for three in zip(images, changed, noise, strict=True):
        batch = torch.stack(three).contiguous(memory_format=torch.channels_last)
        stream(model, found, batch, sums.keys(), partial(_add, found, sums))
    before, after, answers = _looks(model, found, images, changed)
    return InternalChanges(
        model=model.name,
        epsilon=size,
        fraction=attack.fractions[index],
        layers=tuple(_layer(one, sums[one.node], top) for one in channel_sources),
        predictions=answers[0],
        adversarial_predictions=answers[1],
        before=before,
        after=after,
    )


def _add(found: Trace, sums: dict[int, Tensor], node: int, maps: Tensor) -> None:
    """Add up squares of each channel: image, x', noise, and the two differences."""
    image, changed, noise = found.channels_first(node, maps).float()
    parts = (image, changed, noise, changed - image, noise - image)
    sums[node] += torch.stack([part.square().sum(dim=(1, 2)) for part in parts]).double().cpu()


def _layer(channel_source: ChannelSource, sums: Tensor, top: int) -> LayerChange:
    image, changed, noise, by_attack, by_noise = sums
    changes = _relative(by_attack, (image + changed) / 2)
    noise_changes = _relative(by_noise, (image + noise) / 2)
    order = changes.argsort(descending=True, stable=True)[:top]
    whole = sums.sum(dim=1)
    return LayerChange(
        layer=channel_source.layer,
        node_name=channel_source.node_name,
        change=float(_relative(whole[3], (whole[0] + whole[1]) / 2)),
        noise_change=float(_relative(whole[4], (whole[0] + whole[2]) / 2)),
        channels=order,
        changes=changes[order].float(),
        noise_changes=noise_changes[order].float(),
    )


def _relative(apart: Tensor, scale: Tensor) -> Tensor:
    """Roots of squared differences over squared scales; 0 where there is nothing at all."""
    if scale.ndim:
        scale = scale + scale.mean()
    return torch.where(scale > 0, apart / scale, 0.0).sqrt()


def _looks(
    model: Model, found: Trace, images: Tensor, changed: Tensor
) -> tuple[GradCam | None, GradCam | None, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Grad-CAM of both, for both answers; and the answers' names.

    One output has one class to explain, whether it is the answer or not.
    """
    classes = [
        predicted_classes(class_scores(model, found, one), found.output_head)
        for one in (images, changed)
    ]
    names = tuple(
        tuple(class_name(model.labels, index) for index in one.tolist()) for one in classes
    )
    if found.final_layer is None:
        return None, None, (names[0], names[1])
    both = torch.stack(classes, dim=1).clamp(min=0)
    before, after = (gradcam(model, one, classes=both) for one in (images, changed))
    return before, after, (names[0], names[1])
