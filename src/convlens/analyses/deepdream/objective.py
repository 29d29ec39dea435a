"""DeepDream's objective: the node that is strengthened, and the error signal that is set there.

The error signal at the layer is set to the activations themselves and propagated back to the pixels
(Bishop & Bishop, section 10.3.5). It is the gradient of ½‖a‖², half the squared norm of the
activations a.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.channel_names import check_channel
from convlens.tracing.left_out import explain_missing_maps, find_left_out
from convlens.tracing.selection import (
    Side,
    find_channel_sources,
    select_layer,
)
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace

_PRODUCTS = 2**24  # products of a guide's features and the photo's that are held at once

# Takes the activations (1, C, h, w) of some units, and returns the error signal at them, of the
# same shape, and the objective, which is a sum over units.
ActivationObjective = Callable[[Tensor], tuple[Tensor, float]]


@dataclass(frozen=True)
class ObjectiveNode:
    """The node whose activations are strengthened.

    Attributes:
        layer: the layer that was asked for, or the default.
        node_name: name of the node.
        guide_node_name: name of the node at which a guide's features are taken: behind the
            non-linearity that consumes the node, or the node itself if there is none.
        side: side of the layer: `pre`, `post` or `output`; `output` if it has no non-linearity.
        reason: why this layer was chosen.
        left_out: the convolutions that could not be chosen, with the reason; none if a layer was
            asked for.
    """

    layer: str
    node_name: str
    guide_node_name: str
    side: str
    reason: str
    left_out: tuple[str, ...] = ()


def find_objective_node(
    model: Model, layer: str | None, channel: int | None, side: Side = "pre"
) -> ObjectiveNode:
    """Find the node that a layer's name stands for.

    Args:
        model: the model.
        layer: name of a layer or a node. None: the last convolution whose units see no more than
            the image.
        channel: a channel that the node must have, or None.
        side: side of the layer; default: "pre".

    Raises:
        ConvlensError: the layer, the channel or the side is unknown, or the layer gives no maps.
    """
    model_trace = trace(model)
    reason = "asked for"
    left_out: tuple[str, ...] = ()
    if layer is None:
        left_out = tuple(map(str, find_left_out(model_trace)))
        layer, reason = _default_layer(model, model_trace)
        source = next(
            source
            for source in find_channel_sources(model_trace, None, side)
            if layer in source.names
        )
        post = next(
            convolution.node
            for convolution in model_trace.convolutions
            if convolution.layer == layer
        )
    else:
        (source,) = find_channel_sources(model_trace, [layer], side)
        post = select_layer(model_trace, layer, side).post
    node = source.node
    if node == 0:
        raise ConvlensError(f"the image itself has no activations; name a layer of {model.name}")
    if channel is not None:
        check_channel(layer, channel, source.channels)
    has_nonlinearity = model_trace.structure.is_pre(node) or model_trace.structure.is_post(node)
    return ObjectiveNode(
        layer=layer,
        node_name=source.node_name,
        guide_node_name=model_trace.name(post),
        side=source.side if has_nonlinearity else "output",
        reason=reason,
        left_out=left_out,
    )


def _default_layer(model: Model, model_trace: Trace) -> tuple[str, str]:
    """The last convolution with a non-linearity whose units see no more than the image.

    Such a layer detects patterns and parts. Later layers detect whole objects, which appear in few
    dreams.
    """
    near, with_maps = [], []
    for convolution in model_trace.convolutions:
        field = model_trace.field(convolution.node)
        if field is None:
            continue
        with_maps.append(convolution.layer)
        extents = (int((field.high[axis] - field.low[axis]).max()) + 1 for axis in (0, 1))
        fits = (
            extent <= side for extent, side in zip(extents, model_trace.image_size, strict=True)
        )
        if convolution.post and not field.sees_whole_image and all(fits):
            near.append(convolution.layer)
    if not with_maps:
        reason = explain_missing_maps(model_trace)
        raise ConvlensError(
            f"{model.name} runs no convolution that gives maps"
            + (f": {reason}" if reason else "; name a layer")
        )
    if not near:
        return with_maps[0], "the first convolution; units of all others see more than the image"
    height, width = model_trace.image_size
    return near[-1], (
        f"the last convolution whose units see no more than an image of {height} × {width}"
    )


def activation_objective(
    channel: int | None = None, guide_features: Tensor | None = None
) -> ActivationObjective:
    """Return the function that sets DeepDream's error signal and computes its objective.

    Args:
        channel: the only channel that counts; default: all.
        guide_features: `(C, P)`, features of a guide at P positions. Each position's error signal
            is then the guide's feature with the largest dot product with its activations, and the
            objective is the sum of these dot products. Default: the error signal is set to the
            activations themselves, and the objective is ½‖a‖².
    """

    def squared_norm(activations: Tensor) -> tuple[Tensor, float]:
        if channel is None:
            return activations, float(activations.double().square().sum()) / 2
        error_signal = torch.zeros_like(activations)
        error_signal[:, channel] = activations[:, channel]
        return error_signal, float(error_signal.double().square().sum()) / 2

    def match_guide(activations: Tensor) -> tuple[Tensor, float]:
        assert guide_features is not None
        flat = activations.flatten(2)[0]
        error_signal = torch.empty_like(flat)
        total = 0.0
        block = max(1, _PRODUCTS // guide_features.shape[1])
        for first in range(0, flat.shape[1], block):
            positions = slice(first, first + block)
            best = (flat[:, positions].T @ guide_features).max(dim=1)
            error_signal[:, positions] = guide_features[:, best.indices]
            total += float(best.values.double().sum())
        return error_signal.view(activations.shape), total

    return squared_norm if guide_features is None else match_guide


def compute_guide_features(model: Model, node: ObjectiveNode, guide: Tensor) -> Tensor:
    """Features `(C, P)` of a guide `(1, C, h, w)`, behind the layer's non-linearity."""
    model_trace = trace(model, guide, partly=node.guide_node_name)
    index = model_trace.find_node(node.guide_node_name)
    with torch.no_grad():
        activations = capture_nodes(model, model_trace, guide, [index])[index]
    return model_trace.channels_first(index, activations)[0].flatten(1)
