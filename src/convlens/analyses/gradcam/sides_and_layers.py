"""The maps of one image before and after the non-linearity, and at several layers.

They are those of `gradcam` and `gradcam_layers`, from one forward pass instead of three.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from torch import Tensor

from convlens.analyses.gradcam.gradcam import (
    explain_forward,
    gradcam,
    gradcam_layers,
    run_forward,
)
from convlens.analyses.gradcam.layers import select_node_group, select_node_groups
from convlens.analyses.gradcam.layers_result import GradCamLayers
from convlens.analyses.gradcam.options import GradCamKeywords, GradCamOptions
from convlens.analyses.gradcam.result import GradCam
from convlens.capture.gradients import enable_gradients
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results.network_result import collect_warnings
from convlens.runtime.guard import preserve_network
from convlens.tracing.selection import NodeGroup, Side
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace


@dataclass(frozen=True)
class SidesAndLayers:
    """The maps of one image.

    Attributes:
        cam: those that were asked for.
        other_side: those of the same classes on the other side of the non-linearity; None where
            the layer has one side only, or both sides give the same maps.
        layers: those of the first class at each resolution of the network; None where they cannot
            be computed.
    """

    cam: GradCam
    other_side: GradCam | None
    layers: GradCamLayers | None


def gradcam_sides_and_layers(
    model: Model, image: Tensor, **options: Unpack[GradCamKeywords]
) -> SidesAndLayers:
    """Compute the maps of one image on both sides of a layer, and at several layers.

    Args:
        model: the model. It is left untouched.
        image: float32 `(1, C, H, W)` inside the model's bounds.
        **options: the fields of `GradCamOptions`.

    Raises:
        ConvlensError: the maps that were asked for cannot be computed, as for `gradcam`.
    """
    settings, image = GradCamOptions(**options), model.to_images(image)
    # What fails for one of them, or is a reason to read it with care, may not be for the others.
    with suppress(ConvlensError), collect_warnings() as warnings:
        maps = _from_one_pass(model, image, settings)
        if not warnings:
            return maps
    return _one_by_one(model, image, settings)


@enable_gradients()
def _from_one_pass(model: Model, image: Tensor, options: GradCamOptions) -> SidesAndLayers:
    model_trace = trace(model, image)
    group = select_node_group(model_trace, options)
    other_group = _select_other_side(model_trace, options)
    layer_groups = select_node_groups(model_trace, None, "pre")
    groups = [group, *([] if other_group is None else [other_group]), *layer_groups]
    with preserve_network(model.network):
        activations = run_forward(model, model_trace, image, groups)

        def explain(groups: list[NodeGroup], options: GradCamOptions) -> list[GradCam]:
            return explain_forward(model, model_trace, image, groups, activations, options)

        (cam,) = explain([group], options)
        classes = _explained_classes(cam)
        other = None
        if other_group is not None:
            (other,) = explain([other_group], GradCamOptions(classes=classes))
        cams = explain(layer_groups, GradCamOptions(classes=classes[:, :1]))
    layers = GradCamLayers(tuple(group.name for group in layer_groups), tuple(cams))
    return SidesAndLayers(cam, other if _differ(other, cam) else None, layers)


def _one_by_one(model: Model, image: Tensor, options: GradCamOptions) -> SidesAndLayers:
    cam = gradcam(model, image, **options.keywords())
    classes = _explained_classes(cam)
    other, layers = None, None
    with suppress(ConvlensError):  # the layer has one side only
        side = _other_side(options)
        other = gradcam(model, image, classes=classes, layer=options.layer, side=side)
    with suppress(ConvlensError):
        layers = gradcam_layers(model, image, classes=classes[:, :1])
    return SidesAndLayers(cam, other if _differ(other, cam) else None, layers)


def _select_other_side(model_trace: Trace, options: GradCamOptions) -> NodeGroup | None:
    """The same layer on the other side of its non-linearity, if it has one."""
    try:
        return select_node_group(model_trace, replace(options, side=_other_side(options)))
    except ConvlensError:
        return None


def _other_side(options: GradCamOptions) -> Side:
    return "post" if options.side == "pre" else "pre"


def _differ(other: GradCam | None, cam: GradCam) -> bool:
    """Whether there are other maps that are not the same."""
    if other is None:
        return False
    return other.maps.shape != cam.maps.shape or not torch.equal(other.maps, cam.maps)


def _explained_classes(cam: GradCam) -> Tensor:
    """The classes of maps and those that are subtracted, int64 `(N, K, 2)`."""
    return torch.stack([cam.classes, cam.subtracted], dim=-1)
