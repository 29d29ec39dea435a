"""Selection of layers, channels, units and sides of a trace by name.

Every analysis and every command uses this module, so that the same text means the same everywhere.

Names
-----
``layer4.2``
    A layer: a dotted module name, as in ``named_modules()``. ``layer4.2#1`` is its first run where
    it runs several times; without a number it is the last run.
``layer4.2/add``, ``layer4.2.relu:in``, ``image``
    A node, by its name in the trace (see ``convlens.tracing.recording.node_names``).
``layer4.2:17``
    Channel 17 of a layer or a node.
``layer4.2:17@3,5``
    The unit in row 3 and column 5 of that channel.

The forms of channels and units are in ``convlens.tracing.channel_names``.

Sides
-----
A layer has three sides, and each analysis documents which one it uses by default:

============ ======================================================================================
``output``   what the layer itself returns
``post``     what the layer's non-linearity returns
``pre``      what the layer's non-linearity consumes
============ ======================================================================================

The non-linearity is the one that produces the layer's output or, where none does, the first one
after the layer: it is searched for through normalization, scaling, permutation and addition (see
``convlens.tracing.sides``). For the common cases:

=================================== ===================== ====================== ==================
layer                               output                pre                    post
=================================== ===================== ====================== ==================
convolution in conv-BN-ReLU         convolution           batch norm             ReLU
batch norm in conv-BN-ReLU          batch norm            batch norm             ReLU
ReLU, or a functional relu's block  ReLU                  its input              ReLU
residual block that ends in ReLU    ReLU                  sum                    ReLU
last convolution of such a block    convolution           sum                    ReLU
pre-activation residual block       sum                   next block's BN        next block's ReLU
Inception module                    concatenation         each branch's input    concatenation
                                                          of its ReLU
linear bottleneck, no ReLU follows  output                as post                output (of a
                                                                                 convolution: of
                                                                                 its batch norm)
pooling                             pooling               as post                pooling, unless a
                                                                                 ReLU follows
=================================== ===================== ====================== ==================

The pre side of an Inception module is a node group: several nodes that Grad-CAM treats as one. An
analysis that needs a single node refuses it. The name of a node stands for that node alone, and the
side has no effect on it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from torch import Tensor

from convlens.errors import ConvlensError, suggest
from convlens.tracing.channel_names import check_channel, parse_channel
from convlens.tracing.dimensions import MapDims, channels_first
from convlens.tracing.left_out import explain_lost_positions, explain_missing_maps
from convlens.tracing.recording.recording import Operation
from convlens.tracing.sides import Sides, find_sides
from convlens.tracing.trace import Trace
from convlens.tracing.unfollowed import (
    warn_of_layers_without_maps,
    warn_of_unknown_nonlinearities,
    warn_of_unknown_producer,
)

Side = Literal["pre", "post", "output"]

SIDES: tuple[Side, ...] = get_args(Side)

_RUN = re.compile(r"(?P<path>.+?)(?:#\d+)?", re.DOTALL)


@dataclass(frozen=True)
class NodeGroup:
    """One node, or several that are treated as one: the concatenated branches of a layer.

    Attributes:
        name: the text that selected it, or the names of its nodes.
        nodes: indices of the nodes in the trace.
        post: index of the node on the post side.
        side: the requested side. If the name is that of a node: `post` if a non-linearity returns
            the node, `pre` if one consumes it, otherwise `output`.
        reason: why these nodes were selected, in words.
    """

    name: str
    nodes: tuple[int, ...]
    post: int
    side: Side
    reason: str


@dataclass(frozen=True)
class ChannelSource:
    """A node whose channels an analysis reads.

    Attributes:
        layer: the name that selected it, or that of the convolution.
        node_name: name of the node.
        node: index of the node in the trace.
        side: as in `NodeGroup`.
        channels: number of its channels.
        post: whether a non-linearity returns it.
        rectified: whether that non-linearity returns nothing negative.
        limit: greatest value that it can return, 6 for ReLU6; None where there is none.
        dims: dimensions of its rows and columns, (2, 3) for `(N, C, h, w)`.
        also: names of further selected layers with the same node.
    """

    layer: str
    node_name: str
    node: int
    side: Side
    channels: int
    post: bool
    rectified: bool
    limit: float | None = None
    dims: MapDims = (2, 3)
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all layers that selected it."""
        return (self.layer, *self.also)

    def channels_first(self, maps: Tensor) -> Tensor:
        """Maps of the node as `(N, C, h, w)`."""
        return channels_first(maps, self.dims)


def select_layer(trace: Trace, layer: str, side: Side) -> NodeGroup:
    """Select the nodes on a side of a layer, or the node of a name. All of them must have maps.

    Args:
        trace: of the network.
        layer: name of a layer or a node.
        side: `pre`, `post` or `output`.

    Raises:
        ConvlensError: an unknown name or side, or nodes without rows and columns.
    """
    check_side(side)
    sides = _sides_of_layer(trace, layer)
    if sides is None:
        node = trace.find_node(layer)
        group = NodeGroup(layer, (node,), node, side_of_node(trace, node), "asked for")
    else:
        group = NodeGroup(layer, _nodes(sides, side), sides.post, side, "asked for")
        if side != "output":
            warn_of_unknown_nonlinearities(trace, {layer: sides})
    for node in group.nodes:
        if trace.spatial_dims(node) is None:
            trace.image_dim(node)  # raises where the images are what is missing
            lost = explain_lost_positions(trace, node)
            reason = "not maps; choose a layer before the spatial positions are lost"
            if lost:
                reason = f"not maps: {lost}; choose a layer before it"
            if node in trace.recording.complex_nodes:
                reason = "of complex numbers; choose a layer that returns real ones"
            if trace.capture_point(node) is None:
                reason = "inside an operation that shows only its result; choose another layer"
            raise ConvlensError(
                f"{layer} of {trace.model_name} gives {trace.shape(node)} for one image, {reason}"
            )
    return group


def select_final_layer(trace: Trace, side: Side) -> NodeGroup:
    """Select the nodes on the pre or post side of the final convolutional layer.

    Raises:
        ConvlensError: there is no final convolutional layer, or the side is `output`.
    """
    check_side(side)
    final = trace.final_layer
    if final is None:
        raise ConvlensError(
            f"{trace.model_name} has no final convolutional layer: "
            + (
                trace.recording.no_scores
                or explain_missing_maps(trace)
                or "no node with a map lies on every path from the "
                "image to the output; name a layer"
            )
        )
    if side == "output":
        raise ConvlensError("the side output is of a layer; name one, or choose pre or post")
    warn_of_layers_without_maps(trace, final.post)
    if final.pre == (final.post,):
        warn_of_unknown_producer(trace, final.post)
    nodes = final.pre if side == "pre" else (final.post,)
    name = ", ".join(trace.name(node) for node in nodes)
    return NodeGroup(name, tuple(nodes), final.post, side, final.reason)


def find_channel_sources(
    trace: Trace, layers: Sequence[str] | None, side: Side = "post"
) -> tuple[ChannelSource, ...]:
    """Find the nodes at which the channels of layers are read, each of them once.

    Args:
        trace: of the network.
        layers: names of layers or nodes; None for all convolutions whose maps have more than one
            position. Layers with the same node (the last convolution of a residual block and its
            shortcut) share one source, with the name of the first.
        side: `pre`, `post` or `output`; default: `post`.

    Raises:
        ConvlensError: an unknown name or side, a node without maps, or a side of several nodes.
    """
    check_side(side)
    selected: list[tuple[str, int, Side]] = []
    if layers is None:
        shown: dict[str, Sides] = {}
        for convolution in trace.convolutions:
            (node,) = _nodes(convolution.sides, side)
            if trace.spatial_dims(node) is not None:
                selected.append((convolution.layer, node, side))
                shown[convolution.layer] = convolution.sides
        if not selected:
            reason = explain_missing_maps(trace)
            raise ConvlensError(
                f"{trace.model_name} runs no convolution that gives maps"
                + (f": {reason}" if reason else "")
            )
        if side != "output":
            warn_of_unknown_nonlinearities(trace, shown)
    else:
        for layer in layers:
            group = select_layer(trace, layer, side)
            if len(group.nodes) > 1:
                branches = ", ".join(trace.name(node) for node in group.nodes)
                raise ConvlensError(
                    f"the {group.side} side of {layer} is {len(group.nodes)} nodes, one for each "
                    f"concatenated branch; name one of them ({branches}) or choose another side"
                )
            selected.append((layer, group.nodes[0], group.side))
    sources: dict[int, ChannelSource] = {}
    for layer, node, selected_side in selected:
        if node in sources:
            sources[node] = replace(sources[node], also=(*sources[node].also, layer))
        else:
            sources[node] = _channel_source(trace, layer, node, selected_side)
    return tuple(sources.values())


def _channel_source(trace: Trace, layer: str, node: int, side: Side) -> ChannelSource:
    dims = trace.spatial_dims(node)
    assert dims is not None
    post = trace.structure.is_post(node)
    return ChannelSource(
        layer=layer,
        node_name=trace.name(node),
        node=node,
        side=side,
        channels=trace.shape(node)[6 - sum(dims)],
        post=post,
        rectified=post and _rectifies(trace.structure.producers[node]),
        limit=_upper_limit(trace.structure.producers[node]) if post else None,
        dims=dims,
    )


def _rectifies(operation: Operation) -> bool:
    """Whether a non-linearity returns nothing negative: ReLU, ReLU6, clamping at zero."""
    minimum_argument = {
        "hardtanh": "min_val", "clamp_min": "min", "clamp": "min", "threshold": "value",
    }  # fmt: skip
    if operation.name in minimum_argument:
        return operation.arguments.get(minimum_argument[operation.name]) == 0
    return operation.name == "relu"


def _upper_limit(operation: Operation) -> float | None:
    """The greatest value that a clamping non-linearity returns; None for any other."""
    maximum_argument = {"hardtanh": "max_val", "clamp_max": "max", "clamp": "max"}
    limit = operation.arguments.get(maximum_argument.get(operation.name, ""))
    return float(limit) if isinstance(limit, (int, float)) else None


def _sides_of_layer(trace: Trace, name: str) -> Sides | None:
    """The sides of a layer; None if the name is not that of a layer."""
    match = _RUN.fullmatch(name)
    if match is None or match["path"] not in trace.recording.runs or name not in trace:
        return None
    output = trace.find_node(name)
    producer = trace.structure.producers.get(output)
    convolution = producer is not None and producer.name == "convolution"
    return find_sides(output, trace.structure, trace.on_image, convolution=convolution)


def _nodes(sides: Sides, side: Side) -> tuple[int, ...]:
    return {"pre": sides.pre, "post": (sides.post,), "output": (sides.output,)}[side]


def side_of_node(trace: Trace, node: int) -> Side:
    """`post` if a non-linearity returns the node, `pre` if one consumes it, otherwise `output`."""
    if trace.structure.is_post(node):
        return "post"
    return "pre" if trace.structure.is_pre(node) else "output"


def check_side(side: str) -> Side:
    """Check that a text is the name of a side, and return it.

    Raises:
        ConvlensError: there is no such side.
    """
    if side not in SIDES:
        raise ConvlensError(f"no side {side!r}{suggest(side, SIDES)}; give pre, post or output")
    return side


def find_channels(trace: Trace, texts: Sequence[str], side: Side = "post") -> dict[str, list[int]]:
    """Find the channels that several texts `LAYER:K` name.

    Args:
        trace: of the network.
        texts: names of channels.
        side: `pre`, `post` or `output`; default: `post`.

    Returns:
        The numbers of the channels, by the name of the layer.

    Raises:
        ConvlensError: a text of another form, an unknown layer, or a channel that it lacks.
    """
    channels: dict[str, list[int]] = {}
    for text in texts:
        name = parse_channel(text)
        if name.position is not None:
            raise ConvlensError(f"{text!r} is a unit; give a channel, {name.layer}:{name.channel}")
        (source,) = find_channel_sources(trace, [name.layer], side)
        check_channel(name.layer, name.channel, source.channels)
        channels.setdefault(name.layer, []).append(name.channel)
    return channels
