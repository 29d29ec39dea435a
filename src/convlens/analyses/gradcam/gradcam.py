"""Grad-CAM: which parts of an image support a class, by the chapter's definition.

    alpha_k = (1/M_k) sum_ij d a^c / d a_ij^(k)        L = sum_k alpha_k A^(k)

a^c is the logit of class c, A^(k) the pre-activation of channel k of the final convolutional layer,
and M_k the number of its units (Bishop & Bishop, Deep Learning, section 10.3; Selvaraju et al. 2017
take the maps after the non-linearity: `side="post"`). L is not rectified: negative values
argue against the class.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

import torch
from torch import Tensor

from convlens.analyses.gradcam.layers import (
    cell_centers,
    channel_layer,
    select_node_group,
    select_node_groups,
)
from convlens.analyses.gradcam.layers_result import GradCamLayers
from convlens.analyses.gradcam.options import (
    GradCamKeywords,
    GradCamOptions,
    spell_out_options,
)
from convlens.analyses.gradcam.result import GradCam, join_images
from convlens.analyses.gradcam.targets import ExplanationTarget, resolve_target
from convlens.capture.gradients import compute_gradients, enable_gradients
from convlens.capture.tiles import capture_from_layer
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model
from convlens.results.network_result import keep_warnings
from convlens.runtime.guard import preserve_network
from convlens.tracing.gradient_stops import explain_missing_gradient
from convlens.tracing.image_parts import gradient_parts, image_parts
from convlens.tracing.selection import NodeGroup
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace_images


@keep_warnings
@spell_out_options
@enable_gradients()
def gradcam(model: Model, images: ImagesLike, **options: Unpack[GradCamKeywords]) -> GradCam:
    """Compute Grad-CAM maps of one or several classes for each image.

    One forward pass of each image keeps a graph from the layer on, and the backward passes of all
    classes run as one, from the logits to the layer. A large image runs in tiles
    (`convlens.capture.tiles`). On a CPU a large batch runs in parts
    (`convlens.tracing.image_parts`), except for a function of the output.

    A network with one output predicts whether class 0 is present. Its logit is explained in either
    case: what supports class 0 argues against the prediction where that is "not class 0".

    Args:
        model: the model. It is left untouched.
        images: float32 `(N, C, H, W)` inside the model's bounds, or photos as `Model.prepare`
            takes them.
        **options: the fields of `GradCamOptions`: classes or another target, and the layer.

    Returns:
        Signed maps at the layer's resolution, in units of the logit.

    Raises:
        ConvlensError: an unknown class or layer, a layer without maps, images that the model does
            not take, a target that does not fit the output, or NaN in the network.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.3; Selvaraju et al.,
        "Grad-CAM", ICCV 2017.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8, labels=("cat", "dog"))
        >>> cam = convlens.gradcam(model, torch.rand(1, 3, 8, 8), classes=["cat", "dog - cat"])
        >>> cam.names, cam.nodes, cam.maps.shape
        ((('cat', 'dog - cat'),), ('0',), torch.Size([1, 2, 6, 6]))
    """
    settings = GradCamOptions(**options)
    images, model_trace = trace_images(model, images)
    node_group = select_node_group(model_trace, settings)
    return explain(model, model_trace, images, [node_group], settings)[0]


@keep_warnings
@spell_out_options
@enable_gradients()
def gradcam_layers(
    model: Model,
    images: ImagesLike,
    *,
    layers: Sequence[str] | None = None,
    **options: Unpack[GradCamKeywords],
) -> GradCamLayers:
    """Compute Grad-CAM maps at several layers, from coarse to fine.

    All maps come from one forward pass and one backward pass.

    Args:
        model: the model. It is left untouched.
        images: float32 `(N, C, H, W)` inside the model's bounds, or photos as `Model.prepare`
            takes them.
        layers: names of layers or nodes. Default: at each resolution of the
            network's maps the last node through which every path passes.
        **options: the fields of `GradCamOptions`. `layer` does not apply.

    Returns:
        The maps at each layer, those with the fewest cells first.

    Raises:
        ConvlensError: as `gradcam`; an empty list of layers.

    References:
        See `gradcam`.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        ...     torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=12)
        >>> strips = convlens.gradcam_layers(model, torch.rand(1, 3, 12, 12), classes=1)
        >>> strips.layers
        ('3', '0')
    """
    settings = GradCamOptions(**options)
    if settings.layer is not None:
        raise ConvlensError(
            "gradcam_layers takes no layer; give layers, a list of names, or call gradcam"
        )
    images, model_trace = trace_images(model, images)
    node_groups = select_node_groups(model_trace, layers, settings.side)
    cams = explain(model, model_trace, images, node_groups, settings)
    return GradCamLayers(tuple(group.name for group in node_groups), tuple(cams))


def explain(
    model: Model,
    model_trace: Trace,
    images: Tensor,
    node_groups: Sequence[NodeGroup],
    options: GradCamOptions,
) -> list[GradCam]:
    """Compute the maps at each of several node groups. Gradients have to be recorded.

    Args:
        model: the model whose network is run; any with the same structure as the traced one.
        model_trace: the trace.
        images: float32 `(N, C, H, W)` inside the model's bounds.
        node_groups: from `select_node_group` or `select_node_groups`.
        options: what is explained.

    Returns:
        The maps, in the order of the node groups.
    """
    cams: list[list[GradCam]] = []
    with preserve_network(model.network):  # entered once for all passes
        for part in _split(model_trace, images, options):
            part_images, part_options = images[part], options
            if isinstance(options.classes, Tensor) and options.classes.ndim:
                part_options = replace(options, classes=options.classes[part])
            activations = run_forward(model, model_trace, part_images, node_groups)
            cams.append(
                explain_forward(
                    model, model_trace, part_images, node_groups, activations, part_options
                )
            )
    return [join_images(cams_of_group, images) for cams_of_group in zip(*cams, strict=True)]


def _split(model_trace: Trace, images: Tensor, options: GradCamOptions) -> list[slice]:
    """The parts of the images that are explained one after the other."""
    # A function of the output may refer to all images; classes for other images are refused later.
    classes = options.classes
    is_whole = isinstance(classes, Tensor) and (not classes.ndim or len(classes) != len(images))
    if options.target is not None or is_whole:
        return [slice(None)]
    return image_parts(model_trace, images)


def run_forward(
    model: Model, model_trace: Trace, images: Tensor, node_groups: Sequence[NodeGroup]
) -> dict[int, Tensor]:
    """Run a network from the image to the logits. Gradients have to be recorded.

    The maps of large images are computed in tiles where that is exact (`convlens.capture.tiles`).

    Args:
        model: the model whose network is run, as for `explain`.
        model_trace: the trace.
        images: float32 `(N, C, H, W)`.
        node_groups: the node groups.

    Returns:
        The activations at the nodes of the groups, and the logits with their graph, by node.
    """
    return capture_from_layer(model, model_trace, images.detach(), _list_nodes(node_groups))


def explain_forward(
    model: Model,
    model_trace: Trace,
    images: Tensor,
    node_groups: Sequence[NodeGroup],
    activations: dict[int, Tensor],
    options: GradCamOptions,
) -> list[GradCam]:
    """Compute the maps from a forward pass, whose graph is kept for further calls.

    Args:
        model: the model whose network has run.
        model_trace: the trace.
        images: float32 `(N, C, H, W)`.
        node_groups: the node groups.
        activations: from `run_forward`.
        options: what is explained.

    Returns:
        The maps, in the order of the node groups.
    """
    nodes = _list_nodes(node_groups)
    # The guard covers the backward pass, in which a network may compute parts of itself again.
    with preserve_network(model.network):
        output = activations[model_trace.logits]
        if options.target is not None:
            output = model_trace.in_network_order(model_trace.logits, output)
        target = resolve_target(
            model, output, options, image_count=len(images), output_head=model_trace.output_head
        )
        alphas = _compute_alphas(model_trace, nodes, target, activations)
    return [
        _weight_maps(model, model_trace, images, group, target, activations, alphas)
        for group in node_groups
    ]


def _list_nodes(node_groups: Sequence[NodeGroup]) -> list[int]:
    """The nodes of all groups, each once."""
    return list(dict.fromkeys(node for group in node_groups for node in group.nodes))


def compute_alpha(channel_gradients: Tensor) -> Tensor:
    """The CAM weights: alpha_k, the mean over positions of the gradient at channel k.

    Args:
        channel_gradients: `(..., channels, h, w)`, the gradients d a^c / d a_ij^(k).

    Returns:
        `(..., channels)`.
    """
    return channel_gradients.mean(dim=(-2, -1))


def _compute_alphas(
    model_trace: Trace,
    nodes: Sequence[int],
    target: ExplanationTarget,
    activations: dict[int, Tensor],
) -> dict[int, Tensor]:
    """The CAM weights `(K, N, channels)` of each node, without keeping the gradients of all K."""
    inputs = [activations[node] for node in nodes]
    alphas: dict[int, list[Tensor]] = {node: [] for node in nodes}
    for part in gradient_parts(model_trace, inputs[0], min(nodes), len(target.directions)):
        gradients = compute_gradients(target.outputs, inputs, target.directions[part])
        for node, gradient in zip(nodes, gradients, strict=True):
            alphas[node].append(compute_alpha(model_trace.channels_first(node, gradient)))
    return {node: torch.cat(parts) for node, parts in alphas.items()}


def _weight_maps(
    model: Model,
    model_trace: Trace,
    images: Tensor,
    node_group: NodeGroup,
    target: ExplanationTarget,
    activations: dict[int, Tensor],
    alphas: dict[int, Tensor],
) -> GradCam:
    """The weighted sum L of the maps of one node group, with what each channel adds to it."""
    features = [
        model_trace.channels_first(node, activations[node].detach()) for node in node_group.nodes
    ]
    feature_maps = torch.cat(features, dim=1) if len(features) > 1 else features[0]
    alpha = torch.cat([alphas[node] for node in node_group.nodes], dim=2)
    if not bool(alpha.any()):
        reason = explain_missing_gradient(model_trace, node_group.nodes)
        if reason:
            raise ConvlensError(
                f"no gradient reaches {node_group.name} of {model.name}: {reason}; choose a layer "
                f"after it"
            )
    weighted = torch.einsum("knc,nchw->nkhw", alpha, feature_maps)
    if not bool(weighted.isfinite().all()):
        raise ConvlensError(
            f"the maps of {model.name} at {model_trace.name(node_group.nodes[0])} are not finite: "
            f"NaN or infinity in its activations or gradients; look for NaN in its weights"
        )
    alpha = alpha.transpose(0, 1)
    positive = (weighted > 0).to(feature_maps)
    contributions = alpha * torch.einsum("nkhw,nchw->nkc", positive, feature_maps)
    centers_y, centers_x = cell_centers(model_trace, node_group.nodes)
    return GradCam(
        maps=weighted.float().cpu(),
        alpha=alpha.float().cpu(),
        contributions=contributions.float().cpu(),
        classes=target.classes.cpu(),
        subtracted=target.subtracted.cpu(),
        names=target.names,
        scores=target.scores.cpu(),
        probabilities=target.probabilities.cpu(),
        nodes=tuple(model_trace.name(node) for node in node_group.nodes),
        channel_layer=channel_layer(model_trace, node_group.post),
        side=node_group.side,
        reason=node_group.reason,
        centers_y=centers_y,
        centers_x=centers_x,
        images=images.detach().cpu(),
        bounds=model.bounds,
        warnings=model_trace.warnings,
    )
