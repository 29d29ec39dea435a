"""What a dream raises: a node in the network, and the direction in which its units are to go."""

from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.deepdream.tiles import Objective
from convlens.capture import observe
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.selection import Side, check_channel, find_channel_sources, select_layer
from convlens.tracing.trace import Trace, trace

_MATCHES = 2**24  # products of a guide's features and the photo's that are held at once


@dataclass(frozen=True)
class Raised:
    """The node whose activations are raised.

    Attributes:
        layer: the name that was asked for, or the one chosen.
        node_name: name of the node.
        after: name of the node after the non-linearity that consumes it; else the same.
        side: of the layer: `pre`, `post` or `output`; `output` where it has no non-linearity.
        reason: why this layer.
    """

    layer: str
    node_name: str
    after: str
    side: str
    reason: str


def find_raised(model: Model, layer: str | None, channel: int | None, side: Side = "pre") -> Raised:
    """The node that a layer's name stands for.

    Args:
        model: the model.
        layer: name of a layer or a node. None: the last convolution whose units see no more than
            the image.
        channel: one that the node has to have.
        side: of the layer.

    Raises:
        ConvlensError: an unknown name, channel or side, or a node without maps.
    """
    found = trace(model)
    reason = "asked for"
    if layer is None:
        layer, reason = _middle(model, found)
        source = next(one for one in find_channel_sources(found, None, side) if layer in one.names)
        post = next(one.node for one in found.convolutions if one.layer == layer)
    else:
        (source,) = find_channel_sources(found, [layer], side)
        post = select_layer(found, layer, side).post
    if source.node == 0:
        raise ConvlensError(f"the image itself cannot be raised; name a layer of {model.name}")
    if channel is not None:
        check_channel(layer, channel, source.channels)
    structure, node = found.structure, source.node
    linear = not (structure.is_pre(node) or structure.is_post(node))
    return Raised(
        layer=layer,
        node_name=source.node_name,
        after=found.name(post),
        side="output" if linear else source.side,
        reason=reason,
    )


def _middle(model: Model, found: Trace) -> tuple[str, str]:
    """The last convolution with a non-linearity whose units see no more than the image.

    There patterns and parts are told; later ones tell whole objects, and few dreams show these.
    """
    near, maps = [], []
    for one in found.convolutions:
        field = found.field(one.node)
        if field is None:
            continue
        maps.append(one.layer)
        extents = (int((field.high[k] - field.low[k]).max()) + 1 for k in (0, 1))
        fits = (extent <= side for extent, side in zip(extents, found.image_size, strict=True))
        if one.post and not field.beyond and all(fits):
            near.append(one.layer)
    if not maps:
        raise ConvlensError(f"{model.name} runs no convolution that gives maps")
    if not near:
        return maps[0], "the first convolution; units of all others see more than the image"
    height, width = found.image_size
    return near[-1], (
        f"the last convolution whose units see no more than an image of {height} x {width}"
    )


def direction(channel: int | None, features: Tensor | None) -> Objective:
    """Weights at which the units enter, and what they come to: ½‖a‖² and a, or a guide's."""

    def strength(units: Tensor) -> tuple[Tensor, float]:
        if channel is None:
            return units, float(units.double().square().sum()) / 2
        weights = torch.zeros_like(units)
        weights[:, channel] = units[:, channel]
        return weights, float(weights.double().square().sum()) / 2

    def guided(units: Tensor) -> tuple[Tensor, float]:
        assert features is not None
        flat = units.flatten(2)[0]
        weights = torch.empty_like(flat)
        worth = 0.0
        at_once = max(1, _MATCHES // features.shape[1])
        for first in range(0, flat.shape[1], at_once):
            part = slice(first, first + at_once)
            best = (flat[:, part].T @ features).max(dim=1)
            weights[:, part] = features[:, best.indices]
            worth += float(best.values.double().sum())
        return weights.view(units.shape), worth

    return strength if features is None else guided


def features_of(model: Model, target: Raised, image: Tensor) -> Tensor:
    """The features `(C, P)` of a guide `(1, C, h, w)` at the layer, after the non-linearity."""
    found = trace(model, image, partly=target.after)
    node = found.find_node(target.after)
    with torch.no_grad():
        seen = observe(model, found, image, [node])[node]
    return found.channels_first(node, seen)[0].flatten(1)
