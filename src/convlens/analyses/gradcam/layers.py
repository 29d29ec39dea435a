"""Which layers a Grad-CAM weights: the final convolutional one, a named one, or several."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.analyses.gradcam.options import GradCamOptions
from convlens.errors import ConvlensError
from convlens.tracing.selection import (
    NodeGroup,
    Side,
    select_final_layer,
    select_layer,
)
from convlens.tracing.trace import Trace


def select_node_group(model_trace: Trace, options: GradCamOptions) -> NodeGroup:
    """The nodes of the layer that the options name, or of the final convolutional layer.

    Raises:
        ConvlensError: as `select_layer` and `select_final_layer`.
    """
    if options.layer is None:
        return select_final_layer(model_trace, options.side)
    return select_layer(model_trace, options.layer, options.side)


def select_node_groups(
    model_trace: Trace, layers: Sequence[str] | None, side: Side
) -> list[NodeGroup]:
    """The nodes of several layers from coarse to fine.

    Args:
        model_trace: trace of the network.
        layers: names of the layers; default: one layer of each resolution.
        side: side of the layers.

    Raises:
        ConvlensError: an empty sequence, or as `select_layer` and `select_final_layer`.
    """
    if layers is None:
        node_groups = _one_per_resolution(model_trace, side)
    elif isinstance(layers, str):
        raise ConvlensError(
            f"layers is the text {layers!r}; give layer={layers!r}, or a list of layers"
        )
    elif not layers:
        raise ConvlensError(
            "no layer in the list of layers; give at least one, or None for one of each resolution"
        )
    else:
        names = dict.fromkeys(layers)
        node_groups = [select_layer(model_trace, name, side) for name in names]
    return sorted(node_groups, key=lambda group: math.prod(_map_size(model_trace, group.nodes[0])))


def channel_layer(model_trace: Trace, node: int) -> str:
    """The convolution whose channels are read at a node, else the node's own name."""
    layers = (
        convolution.layer for convolution in model_trace.convolutions if convolution.node == node
    )
    return next(layers, model_trace.name(node))


def cell_centers(model_trace: Trace, nodes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Centers of the receptive fields of a map's rows and columns, float64 `(h,)` and `(w,)`.

    Concatenated branches have the same centers, so that the first node represents all of them.
    Where neighbors see the same pixels (windows of attention), the cells are spread evenly instead.
    """
    field = model_trace.field(nodes[0])
    assert field is not None
    y, x = (
        centers if bool((centers.diff() > 0).all()) else _spread_evenly(len(centers), side)
        for centers, side in zip(field.centers, model_trace.image_size, strict=True)
    )
    return y, x


def _one_per_resolution(model_trace: Trace, side: Side) -> list[NodeGroup]:
    """The final layer, and at each finer resolution the last node that all paths pass through.

    Nodes that only pass something on, such as padding, are left out.
    """
    channel_nodes = {convolution.node for convolution in model_trace.convolutions}
    final = select_final_layer(model_trace, side)
    coarsest = _map_size(model_trace, final.nodes[0])
    node_groups = {coarsest: final}
    for node in model_trace.structure.nodes_on_every_path(model_trace.logits):
        if node == final.post:
            break
        if node not in channel_nodes or model_trace.spatial_dims(node) is None:
            continue
        size = _map_size(model_trace, node)
        if size == coarsest:
            continue
        pre = model_trace.structure.nonlinearity_inputs(node)
        nodes = tuple(pre) if side == "pre" and pre is not None else (node,)
        name = ", ".join(model_trace.name(pre_node) for pre_node in nodes)
        reason = f"the last node of {size[0]} × {size[1]} that every path passes through"
        node_groups[size] = NodeGroup(name, nodes, node, side, reason)
    return list(node_groups.values())


def _map_size(model_trace: Trace, node: int) -> tuple[int, int]:
    dims = model_trace.spatial_dims(node)
    assert dims is not None
    height, width = (model_trace.shape(node)[dim] for dim in dims)
    return height, width


def _spread_evenly(cells: int, side: int) -> Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) * side / cells - 0.5
