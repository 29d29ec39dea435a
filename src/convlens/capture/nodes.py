"""Capture of activations at the nodes of a trace.

The forward pass stops after the last node that is captured. Gradients are recorded from the nodes
on at which they start: the parameters are frozen, and nothing below those nodes keeps a graph.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from convlens.capture.folded_networks import guard_network
from convlens.capture.forward_pass import Capture
from convlens.models.model import Model
from convlens.runtime.allocator import raise_heap_thresholds
from convlens.tracing.memory import check_run_fits
from convlens.tracing.trace import Trace


def capture_nodes(
    model: Model,
    trace: Trace,
    images: Tensor,
    nodes: Sequence[int],
    *,
    gradient_nodes: Sequence[int] = (),
    substitutes: Mapping[int, Tensor] | None = None,
) -> dict[int, Tensor]:
    """Capture the activations at nodes of a trace for a batch of images.

    Args:
        model: the model that was traced; its network is left untouched.
        trace: made by `convlens.trace` for images of this size.
        images: `(N, C, H, W)` inside the bounds. If they require gradients, so do the activations
            that are computed from them.
        nodes: indices of the nodes in the trace (`trace.find_node(name)`, `trace.logits`).
        gradient_nodes: indices of further nodes, at which the autograd graph starts. Their
            tensors are returned too, and `compute_gradients` takes gradients to them from
            everything that was computed after them. Default: none.
        substitutes: activations `(N, ...)` for a single gradient node, from which the network
            computes all that follows, whatever the images. They may belong to larger images: the
            trace is of those. Every path from the image has to lead through that node. Default:
            none.

    Returns:
        A tensor for each node, first dimension N. In-place operations that the network runs later
        do not change it.

    Raises:
        ConvlensError: the images do not fit the model, the network raises an error on them, this
            run did not compute one of the nodes (a network with branches on its data), or large
            images that would not fit the memory (`tracing.memory`).
    """
    raise_heap_thresholds()
    requested = dict.fromkeys((*nodes, *gradient_nodes))
    needs_graph = bool(gradient_nodes) or images.requires_grad
    with_gradient = (0,) if images.requires_grad else gradient_nodes
    start = next(iter(substitutes), 0) if substitutes else 0
    check_run_fits(
        trace, len(images), requested, with_gradient, model.dtype, model.device, start=start
    )
    if images.is_inference() and not torch.is_inference_mode_enabled():
        images = images.clone()  # autograd cannot save inference tensors
    guard = guard_network(model, trace, set(requested))
    with guard as network, torch.set_grad_enabled(needs_graph):
        capture = Capture(
            trace, len(images), set(requested), set(gradient_nodes), substitutes=substitutes or {}
        )
        capture.run(model, network, model.normalize(model.check(images)))
    return capture.activations


def stream_nodes(
    model: Model,
    trace: Trace,
    images: Tensor,
    nodes: Collection[int],
    callback: Callable[[int, Tensor], None],
) -> None:
    """Call a function with the activations at each node as soon as they are computed.

    Nothing is copied: the callback receives the network's own tensor, without a graph, and the
    network may overwrite it as soon as the callback returns. The forward pass ends after the last
    node.

    Args:
        model: the model that was traced; its network is left untouched.
        trace: made by `convlens.trace` for images of this size.
        images: `(N, C, H, W)` inside the bounds, which are not checked again for each batch.
        nodes: indices of the nodes in the trace.
        callback: called with a node's index and its tensor, first dimension N.

    Raises:
        ConvlensError: the images do not fit the model, the network raises an error on them, this
            run did not compute one of the nodes, or large images that would not fit the memory.
    """
    raise_heap_thresholds()
    model.check_shape(images)
    check_run_fits(trace, len(images), nodes, (), model.dtype, model.device, streamed=True)
    with guard_network(model, trace, set(nodes)) as network, torch.no_grad():
        capture = Capture(trace, len(images), set(nodes), set(), callback=callback)
        capture.run(model, network, model.normalize(images))
