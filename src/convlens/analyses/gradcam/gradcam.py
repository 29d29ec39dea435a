"""Grad-CAM: where the network looks, by the chapter's definition.

    alpha_k = (1/M_k) sum_ij d a^c / d a_ij^(k)        L = sum_k alpha_k A^(k)

a^c is the logit of class c, A^(k) channel k of the final convolutional layer before its
non-linearity, and M_k the number of its units (Bishop & Bishop, Deep Learning, section 10.3;
Selvaraju et al. 2017, who take the node after the non-linearity: `side="post"`).
"""

import math
from collections.abc import Sequence

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
from convlens.tracing.selection import NodeGroup, Side, select_final_layer, select_layer
from convlens.tracing.trace import Trace, trace

__all__ = [
    "ClassSelection",
    "GradCam",
    "GradCamLayers",
    "TargetFunction",
    "explain",
    "gradcam",
    "gradcam_layers",
]


@recording()
def gradcam(
    model: Model,
    images: Tensor,
    *,
    classes: ClassSelection | None = None,
    top: int = 1,
    pixel: tuple[int, int] | None = None,
    target: TargetFunction | None = None,
    layer: str | None = None,
    side: Side = "pre",
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
        layer: name of a layer or a node, as `convlens.tracing.selection` describes them. Default:
            the final convolutional layer.
        side: of the layer: what its non-linearity consumes (`pre`, the chapter's definition) or
            returns (`post`), or what the layer itself returns (`output`, for a named layer).

    Raises:
        ConvlensError: an unknown class or layer, a layer without maps, images that the model does
            not take, or a target that does not fit the output.
    """
    found = trace(model, images)
    node_group = select_node_group(found, layer, side)
    return explain(
        model, found, images, [node_group],
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
    side: Side = "pre",
) -> GradCamLayers:
    """Grad-CAM at several layers, from coarse to fine, from one forward and one backward pass.

    Args:
        model: the model, left untouched.
        images: as for `gradcam`.
        layers: names of layers or nodes. Default: at each resolution of the network's maps the last
            node through which every path passes.
        classes: as for `gradcam`.
        top: likewise.
        pixel: likewise.
        target: likewise.
        side: as for `gradcam`.

    Raises:
        ConvlensError: as `gradcam`; no layers.
    """
    found = trace(model, images)
    node_groups = select_strip(found, layers, side)
    cams = explain(
        model, found, images, node_groups,
        classes=classes, top=top, pixel=pixel, target=target,
    )  # fmt: skip
    return GradCamLayers(tuple(node_group.name for node_group in node_groups), tuple(cams))


def explain(
    model: Model,
    found: Trace,
    images: Tensor,
    node_groups: Sequence[NodeGroup],
    *,
    classes: ClassSelection | None = None,
    top: int = 1,
    pixel: tuple[int, int] | None = None,
    target: TargetFunction | None = None,
) -> list[GradCam]:
    """The maps at each of some node groups, in their order; gradients have to be recorded.

    Args:
        model: whose network is run; any with the same structure as the one that was traced.
        found: the trace.
        images: as for `gradcam`.
        node_groups: from `select_node_group` or `select_strip`.
        classes: as for `gradcam`.
        top: likewise.
        pixel: likewise.
        target: likewise.
    """
    nodes = list(dict.fromkeys(node for node_group in node_groups for node in node_group.nodes))
    # Guarded to the end: a network may compute parts of itself again in the backward pass.
    with untouched(model.network):
        seen = observe(model, found, images.detach(), [found.logits], start=nodes)
        aimed = resolve_target(
            model, seen[found.logits], output_head=found.output_head, classes=classes, top=top,
            pixel=pixel, target=target,
        )  # fmt: skip
        slopes = gradients(aimed.outputs, [seen[node] for node in nodes], aimed.directions)
    by_node = dict(zip(nodes, slopes, strict=True))
    return [
        _cam(model, found, images, node_group, aimed, seen, by_node) for node_group in node_groups
    ]


def _cam(
    model: Model,
    found: Trace,
    images: Tensor,
    node_group: NodeGroup,
    aimed: ExplanationTarget,
    seen: dict[int, Tensor],
    slopes: dict[int, Tensor],
) -> GradCam:
    alphas, features = [], []
    for node in node_group.nodes:
        alphas.append(found.channels_first(node, slopes[node]).mean(dim=(-2, -1)))
        features.append(found.channels_first(node, seen[node].detach()))
    alpha, feature_maps = torch.cat(alphas, dim=2), torch.cat(features, dim=1)
    weighted = torch.einsum("knc,nchw->nkhw", alpha, feature_maps)
    if not bool(weighted.isfinite().all()):
        raise ConvlensError(
            f"the maps of {model.name} at {found.name(node_group.nodes[0])} are not finite: NaN or "
            f"infinity in its activations or gradients"
        )
    alpha = alpha.transpose(0, 1)
    speaking = (weighted > 0).to(feature_maps)
    centers_y, centers_x = _centers(found, node_group.nodes)
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
        layer=tuple(found.name(node) for node in node_group.nodes),
        detector=_detector(found, node_group.post),
        side=node_group.side,
        reason=node_group.reason,
        centers_y=centers_y,
        centers_x=centers_x,
        images=images.detach().cpu(),
        bounds=model.bounds,
    )  # fmt: skip


def select_node_group(trace: Trace, layer: str | None, side: Side) -> NodeGroup:
    """The nodes of a layer; without a name, of the final convolutional layer.

    Raises:
        ConvlensError: as `select_layer` and `select_final_layer`.
    """
    return select_final_layer(trace, side) if layer is None else select_layer(trace, layer, side)


def select_strip(trace: Trace, layers: Sequence[str] | None, side: Side) -> list[NodeGroup]:
    """The nodes of several layers from coarse to fine; without names, one of each resolution.

    Raises:
        ConvlensError: no layers, or as `select_node_group`.
    """
    if layers is None:
        node_groups = _by_resolution(trace, side)
    elif not layers:
        raise ConvlensError("no layer; give at least one, or none for one of each resolution")
    else:
        node_groups = [select_layer(trace, layer, side) for layer in dict.fromkeys(layers)]
    return sorted(node_groups, key=lambda node_group: math.prod(_cells(trace, node_group.nodes[0])))


def _by_resolution(trace: Trace, side: Side) -> list[NodeGroup]:
    """The final layer, and at each finer resolution the last node that all paths pass through.

    Nodes that only pass something on, such as padding, are left out.
    """
    channel_nodes = {convolution.node for convolution in trace.convolutions}
    final = select_final_layer(trace, side)
    coarsest = _cells(trace, final.nodes[0])
    node_groups = {coarsest: final}
    for node in trace.structure.nodes_on_every_path(trace.logits):
        if node == final.post:
            break
        if node not in channel_nodes or trace.spatial_dims(node) is None:
            continue
        cells = _cells(trace, node)
        if cells == coarsest:
            continue
        pre = trace.structure.nonlinearity_inputs(node)
        nodes = tuple(pre) if side == "pre" and pre is not None else (node,)
        name = ", ".join(trace.name(one) for one in nodes)
        reason = f"the last node of {cells[0]} × {cells[1]} that every path passes through"
        node_groups[cells] = NodeGroup(name, nodes, node, side, reason)
    return list(node_groups.values())


def _cells(found: Trace, node: int) -> tuple[int, int]:
    dims = found.spatial_dims(node)
    assert dims is not None
    height, width = (found.shape(node)[dim] for dim in dims)
    return height, width


def _detector(found: Trace, node: int) -> str:
    """The convolution whose channels stand at a node, else the node's own name."""
    own = (one.layer for one in found.convolutions if one.node == node)
    return next(own, found.name(node))


def _centers(found: Trace, nodes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Middles of the fields; branches see around the same middle, so the first one speaks.

    Where neighbors see the same (windows of attention), cells are spread evenly instead.
    """
    field = found.field(nodes[0])
    assert field is not None
    y, x = (
        centers if bool((centers.diff() > 0).all()) else _spread(len(centers), side)
        for centers, side in zip(field.centers, found.image_size, strict=True)
    )
    return y, x


def _spread(cells: int, side: int) -> Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * side / cells - 0.5
