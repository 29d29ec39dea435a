"""Grad-CAM: where the network looks, by the chapter's definition.

    alpha_k = (1/M_k) sum_ij d a^c / d a_ij^(k)        L = sum_k alpha_k A^(k)

a^c is the logit of class c, A^(k) channel k of the final convolutional place before its
non-linearity, and M_k the number of its units (Bishop & Bishop, Deep Learning, section 10.3;
Selvaraju et al. 2017, who take the place after the non-linearity: `activation="post"`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convlens.analyses.gradcam.result import GradCam, GradCamLayers
from convlens.analyses.gradcam.targets import (
    ClassSelection,
    ExplanationTarget,
    TargetFunction,
    resolve_target,
)
from convlens.capture import gradients, observe, recording
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.runtime.guard import untouched
from convlens.tracing import Trace, trace

__all__ = [
    "Activation",
    "ClassSelection",
    "GradCam",
    "GradCamLayers",
    "TargetFunction",
    "explain",
    "gradcam",
    "gradcam_layers",
]

Activation = Literal["pre", "post"]


@dataclass(frozen=True)
class Spot:
    """Where maps are taken.

    Attributes:
        name: what it was asked for by, or the name of its values.
        values: whose channels are weighted, by number in the trace.
        post: the value whose channels these are after the non-linearity.
        reason: why here.
    """

    name: str
    values: tuple[int, ...]
    post: int
    reason: str


@recording()
def gradcam(
    model: Model,
    images: Tensor,
    *,
    classes: ClassSelection | None = None,
    top: int = 1,
    pixel: tuple[int, int] | None = None,
    target: TargetFunction | None = None,
    activation: Activation = "pre",
    layer: str | None = None,
) -> GradCam:
    """Grad-CAM of several classes for each image, from one forward pass.

    The forward pass keeps a graph only from the layer on, and the backward passes of all classes
    run as one, from the logits to the layer. Of a network that answers for each pixel
    (segmentation) a class is explained by its mean logit over the pixels whose answer it is. A
    network with one output answers by it whether class 0 is there; its logit is explained either
    way, and what speaks for it speaks against the answer where that is not class 0.

    Args:
        model: the model, left untouched.
        images: `(N, C, H, W)` inside the bounds.
        classes: names or indices for all images, `A - B` for the logit of one less that of
            another; or an int64 tensor `(N, K)` with those of each, `(N, K, 2)` with what is
            subtracted (-1: nothing). Default: the `top` highest-scoring of each image; in
            segmentation those of the largest area.
        top: how many, where no classes are given.
        pixel: row and column of an output that is a map: its scores there are explained.
        target: instead of classes, any number computed by torch from the network's output
            (before a softmax or sigmoid): a function from it to `(N,)`, or `(N, K)` for K maps of
            each image.
        activation: the layer's side before ("pre") or after ("post") its non-linearity.
        layer: a place to use instead of the final convolutional one; used as it is.

    Raises:
        ConvlensError: an unknown class or layer, a layer without maps, images that the model does
            not take, or a target that does not fit the output.
    """
    found = _traced(model, images, activation)
    spot = final(model, found, activation) if layer is None else named(model, found, layer)
    return explain(
        model, found, images, [spot], activation,
        classes=classes, top=top, pixel=pixel, target=target,
    )[0]  # fmt: skip


@recording()
def gradcam_layers(
    model: Model,
    images: Tensor,
    *,
    layers: Sequence[str] | None = None,
    classes: ClassSelection | None = None,
    top: int = 1,
    pixel: tuple[int, int] | None = None,
    target: TargetFunction | None = None,
    activation: Activation = "pre",
) -> GradCamLayers:
    """Grad-CAM at several layers, from coarse to fine, from one forward and one backward pass.

    Args:
        model: the model, left untouched.
        images: as for `gradcam`.
        layers: places, each used as it is. Default: at each resolution of the network's maps the
            last value through which every path passes.
        classes: as for `gradcam`.
        top: likewise.
        pixel: likewise.
        target: likewise.
        activation: likewise, for the layers that are chosen here.

    Raises:
        ConvlensError: as `gradcam`; no layers.
    """
    found = _traced(model, images, activation)
    spots = several(model, found, activation, layers)
    cams = explain(
        model, found, images, spots, activation,
        classes=classes, top=top, pixel=pixel, target=target,
    )  # fmt: skip
    return GradCamLayers(tuple(spot.name for spot in spots), tuple(cams))


def explain(
    model: Model,
    found: Trace,
    images: Tensor,
    spots: Sequence[Spot],
    activation: Activation,
    *,
    classes: ClassSelection | None = None,
    top: int = 1,
    pixel: tuple[int, int] | None = None,
    target: TargetFunction | None = None,
) -> list[GradCam]:
    """The maps at each of some spots, in their order; gradients have to be recorded.

    Args:
        model: whose network is run; any with the same structure as the one that was traced.
        found: the trace.
        images: as for `gradcam`.
        spots: from `final` or `named`.
        activation: what the result says of them.
        classes: as for `gradcam`.
        top: likewise.
        pixel: likewise.
        target: likewise.
    """
    values = list(dict.fromkeys(value for spot in spots for value in spot.values))
    # Guarded to the end: a network may compute parts of itself again in the backward pass.
    with untouched(model.network):
        seen = observe(model, found, images.detach(), [found.logits], start=values)
        aimed = resolve_target(
            model, seen[found.logits], link=found.link, classes=classes, top=top, pixel=pixel,
            target=target,
        )  # fmt: skip
        slopes = gradients(aimed.outputs, [seen[value] for value in values], aimed.directions)
    by_value = dict(zip(values, slopes, strict=True))
    return [_cam(model, found, images, spot, activation, aimed, seen, by_value) for spot in spots]


def _cam(
    model: Model,
    found: Trace,
    images: Tensor,
    spot: Spot,
    activation: Activation,
    aimed: ExplanationTarget,
    seen: dict[int, Tensor],
    slopes: dict[int, Tensor],
) -> GradCam:
    alphas, features = [], []
    for value in spot.values:
        alphas.append(found.channels_first(value, slopes[value]).mean(dim=(-2, -1)))
        features.append(found.channels_first(value, seen[value].detach()))
    alpha, feature_maps = torch.cat(alphas, dim=2), torch.cat(features, dim=1)
    weighted = torch.einsum("knc,nchw->nkhw", alpha, feature_maps)
    if not bool(weighted.isfinite().all()):
        raise ConvlensError(
            f"the maps of {model.name} at {found.name(spot.values[0])} are not finite: NaN or "
            f"infinity in its activations or gradients"
        )
    alpha = alpha.transpose(0, 1)
    speaking = (weighted > 0).to(feature_maps)
    centers_y, centers_x = _centers(found, spot.values)
    return GradCam(
        maps=weighted.float().cpu(),
        alpha=alpha.float().cpu(),
        contributions=(
            alpha * torch.einsum("nkhw,nchw->nkc", speaking, feature_maps)
        ).float().cpu(),
        classes=aimed.classes.cpu(),
        subtracted=aimed.subtracted.cpu(),
        names=aimed.names,
        scores=aimed.scores.cpu(),
        probabilities=aimed.probabilities.cpu(),
        layer=tuple(found.name(value) for value in spot.values),
        detector=_detector(found, spot.post),
        activation=activation,
        reason=spot.reason,
        centers_y=centers_y,
        centers_x=centers_x,
        images=images.detach().cpu(),
        bounds=model.bounds,
    )  # fmt: skip


def _traced(model: Model, images: Tensor, activation: str) -> Trace:
    if activation not in ("pre", "post"):
        raise ConvlensError(f"activation {activation!r}; it is pre or post")
    return trace(model, images)


def named(model: Model, found: Trace, layer: str) -> Spot:
    """The spot at a place.

    Raises:
        ConvlensError: no such place, or one without maps.
    """
    value = found.find(layer)
    if found.spatial_dims(value) is None:
        raise ConvlensError(
            f"{layer} of {model.name} gives {found.shape(value)} for one image, not maps; "
            f"choose a layer before the spatial positions are lost"
        )
    return Spot(layer, (value,), value, "asked for")


def final(model: Model, found: Trace, activation: Activation) -> Spot:
    """The final convolutional place.

    Raises:
        ConvlensError: there is none.
    """
    if found.final is None:
        raise ConvlensError(
            f"{model.name} has no final convolutional place: no value with a map lies on every "
            f"path from the image to the output; name a layer"
        )
    values = found.final.pre if activation == "pre" else (found.final.post,)
    return _spot(found, values, found.final.post, found.final.reason)


def _spot(found: Trace, values: Sequence[int], post: int, reason: str) -> Spot:
    return Spot(", ".join(found.name(value) for value in values), tuple(values), post, reason)


def several(
    model: Model, found: Trace, activation: Activation, layers: Sequence[str] | None
) -> list[Spot]:
    """Spots from coarse to fine; without names one of each resolution.

    Raises:
        ConvlensError: an empty sequence, or as `named` and `final`.
    """
    if layers is None:
        spots = _by_resolution(model, found, activation)
    elif not layers:
        raise ConvlensError("no layer; give at least one, or none for one of each resolution")
    else:
        spots = [named(model, found, layer) for layer in dict.fromkeys(layers)]
    return sorted(spots, key=lambda spot: math.prod(_cells(found, spot.values[0])))


def _by_resolution(model: Model, found: Trace, activation: Activation) -> list[Spot]:
    """The final place, and at each finer resolution the last value that all paths pass through.

    Of values that only pass something on, such as padding, none is taken.
    """
    detected = {one.value for one in found.detectors}
    last = final(model, found, activation)
    least = _cells(found, last.values[0])
    spots = {least: last}
    for value in found.structure.passages(found.logits):
        if value == last.post:
            break
        if value not in detected or found.spatial_dims(value) is None:
            continue
        if _cells(found, value) == least:
            continue
        pre = found.structure.consumed(value)
        values = tuple(pre) if activation == "pre" and pre is not None else (value,)
        cells = _cells(found, value)
        why = f"the last value of {cells[0]} × {cells[1]} that every path passes through"
        spots[cells] = _spot(found, values, value, why)
    return list(spots.values())


def _cells(found: Trace, value: int) -> tuple[int, int]:
    dims = found.spatial_dims(value)
    assert dims is not None
    height, width = (found.shape(value)[dim] for dim in dims)
    return height, width


def _detector(found: Trace, value: int) -> str:
    """The convolution whose channels stand at a value, else the value's own name."""
    own = (one.layer for one in found.detectors if one.value == value)
    return next(own, found.name(value))


def _centers(found: Trace, values: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Middles of the fields; branches see around the same middle, so the first one speaks.

    Where neighbors see the same (windows of attention), cells are spread evenly instead.
    """
    field = found.field(values[0])
    assert field is not None
    y, x = (
        centers if bool((centers.diff() > 0).all()) else _spread(len(centers), side)
        for centers, side in zip(field.centers, found.image_size, strict=True)
    )
    return y, x


def _spread(cells: int, side: int) -> Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * side / cells - 0.5
