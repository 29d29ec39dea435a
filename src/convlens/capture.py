"""Capture of activations and gradients at the nodes of a trace.

The forward pass stops after the last node that is captured. Gradients are recorded from those nodes
on: the parameters are frozen, and nothing below the nodes keeps a graph.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import CheckpointError

from convlens.errors import ConvlensError, first_line
from convlens.models.model import Model
from convlens.models.outputs import select_output
from convlens.runtime.guard import preserve_network
from convlens.tracing.gradient_stops import explain_missing_gradient
from convlens.tracing.memory import check_run_fits
from convlens.tracing.recording.hooks import (
    SETITEM,
    Listener,
    ModuleCall,
    attach_listener,
    tensors_in,
)
from convlens.tracing.recording.node_names import NodeName
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
            everything that was computed after them.
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
    requested = dict.fromkeys((*nodes, *gradient_nodes))
    needs_graph = bool(gradient_nodes) or images.requires_grad
    with_gradient = (0,) if images.requires_grad else gradient_nodes
    start = next(iter(substitutes), 0) if substitutes else 0
    check_run_fits(
        trace, len(images), requested, with_gradient, model.dtype, model.device, start=start
    )
    if images.is_inference() and not torch.is_inference_mode_enabled():
        images = images.clone()  # autograd cannot save inference tensors
    with preserve_network(model.network) as network, torch.set_grad_enabled(needs_graph):
        capture = _Capture(
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
    model.check_shape(images)
    check_run_fits(trace, len(images), nodes, (), model.dtype, model.device, streamed=True)
    with preserve_network(model.network) as network, torch.no_grad():
        capture = _Capture(trace, len(images), set(nodes), set(), callback=callback)
        capture.run(model, network, model.normalize(images))


def compute_gradients(
    outputs: Tensor, inputs: Sequence[Tensor], grad_outputs: Tensor
) -> tuple[Tensor, ...]:
    """Compute the gradients of several weighted sums of `outputs` in one backward pass.

    Args:
        outputs: `(N, ...)`, computed from `inputs`.
        inputs: tensors `(N, ...)` from `capture_nodes(gradient_nodes=...)`.
        grad_outputs: `(K, N, ...)`, the weights of the K sums over `outputs`.

    Returns:
        For each input the gradients `(K, N, ...)`; zero where the outputs do not depend on it.

    Raises:
        ConvlensError: no gradient can be taken through the network.
    """
    if not outputs.requires_grad:
        return tuple(torch.zeros(len(grad_outputs), *tensor.shape).to(tensor) for tensor in inputs)
    with convert_gradient_errors():
        try:
            return _batched_gradients(outputs, inputs, grad_outputs)
        except CheckpointError:
            raise
        except RuntimeError:  # an operation that torch cannot batch, such as a custom Function
            rows = [
                _batched_gradients(outputs, inputs, weights.unsqueeze(0))
                for weights in grad_outputs
            ]
            return tuple(torch.cat(column) for column in zip(*rows, strict=True))


@contextmanager
def convert_gradient_errors(trace: Trace | None = None) -> Iterator[None]:
    """Turn what a network raises in a backward pass into a ConvlensError with that cause.

    Args:
        trace: of the network, if the gradient is taken to the image: the operations that have none
            are named. Default: the error's own words.
    """
    try:
        yield
    except CheckpointError as error:
        raise ConvlensError(
            "the network computes this layer again in the backward pass (activation "
            "checkpointing); switch that off, or choose a layer outside it"
        ) from error
    except (ConvlensError, MemoryError):
        raise
    except Exception as error:
        reason = ""
        if "does not require grad" in str(error):
            reason = explain_missing_gradient(trace, [0]) if trace is not None else ""
            reason = (
                reason
                or "it computes without recording how (torch.no_grad, torch.inference_mode, detach)"
            )
        raise ConvlensError(
            f"no gradient can be taken through the network: {reason or first_line(error)}"
        ) from error


@contextmanager
def enable_gradients() -> Iterator[None]:
    """Enable gradients inside the block, also if the caller disabled them (inference mode)."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


def _batched_gradients(
    outputs: Tensor, inputs: Sequence[Tensor], grad_outputs: Tensor
) -> tuple[Tensor, ...]:
    batched = len(grad_outputs) > 1
    gradients = torch.autograd.grad(
        outputs,
        inputs,
        grad_outputs if batched else grad_outputs[0],
        is_grads_batched=batched,
        retain_graph=True,
        allow_unused=True,
    )
    return tuple(
        torch.zeros(len(grad_outputs), *tensor.shape).to(tensor)
        if gradient is None
        else gradient.reshape(len(grad_outputs), *tensor.shape)
        for gradient, tensor in zip(gradients, inputs, strict=True)
    )


class _StopForward(BaseException):
    """All requested nodes are captured. Not an Exception, so that no network catches it."""


@dataclass
class _Capture(Listener):
    """The capture of one forward pass.

    Attributes:
        trace: of the network.
        count: number of images.
        requested: indices of the nodes to capture.
        gradient_nodes: those among them at which the autograd graph starts.
        callback: called with each captured tensor instead of keeping it.
        substitutes: activations with which the network goes on after a gradient node.
        activations: the captured tensors by node; empty tensors if there is a callback.
        callback_error: what the callback raised, which is not the network's error.
    """

    trace: Trace
    count: int
    requested: set[int]
    gradient_nodes: set[int]
    callback: Callable[[int, Tensor], None] | None = None
    substitutes: Mapping[int, Tensor] = field(default_factory=dict)
    activations: dict[int, Tensor] = field(default_factory=dict)
    callback_error: Exception | None = None
    _node_of_operation: dict[NodeName, int] = field(default_factory=dict)

    def run(self, model: Model, network: nn.Module, images: Tensor) -> None:
        """Run the network on normalized images until all requested nodes are captured.

        Raises:
            ConvlensError: the network raises an error, or does not compute one of the nodes.
        """
        output_node = self.trace.recording.output
        self._check_batch()
        if self._is_padded:
            images = torch.cat([images, images])
        try:
            if 0 in self.requested:
                images = self.capture(0, images)
            with ExitStack() as hooks:
                self._attach(network, hooks)
                output = self._forward(model, network, images)
            if output_node in self.requested:
                if self.callback is not None:
                    self.capture(output_node, output)
                else:
                    self.activations[output_node] = self._images_first(output_node, output)
        except _StopForward:
            pass
        self._check_complete(model)

    def capture(self, node: int, tensor: Tensor, *, in_place: bool = False) -> Tensor:
        """Keep the tensor of a node; return the tensor that the network continues with.

        Args:
            node: index of the node.
            tensor: the network's own tensor.
            in_place: whether the network continues with that tensor, whatever is returned.
        """
        if node in self.substitutes:
            return self._substitute(node, tensor, in_place=in_place)
        is_last = len(self.activations) + 1 == len(self.requested)
        continuation = tensor
        activation = self._images_first(node, tensor)
        if self.callback is not None:
            try:
                self.callback(node, activation)
            except Exception as error:
                self.callback_error = error
                raise
            self.activations[node] = tensor.new_empty(0)
        elif node not in self.gradient_nodes:
            self.activations[node] = activation if is_last else activation.clone()
        elif not torch.is_grad_enabled():
            raise ConvlensError(
                f"no gradient starts at {self.trace.name(node)} of {self.trace.model_name}: the "
                f"network computes it without recording how (torch.no_grad, torch.inference_mode, "
                f"or the code of an autograd.Function); choose a layer before or after it"
            )
        elif tensor.requires_grad and in_place:
            # Written back, so that the gradient goes through what is kept.
            self.activations[node] = activation.clone()
            tensor.copy_(self._as_network_has_it(node, self.activations[node], tensor))
        elif tensor.requires_grad:
            # It was computed from another gradient node, so it is in the graph already.
            self.activations[node] = activation
            # The network may overwrite its tensor, in one memory format if not in the other.
            continuation = self._as_network_has_it(node, activation, tensor).clone()
        else:
            leaf = activation.detach().clone().requires_grad_()
            self.activations[node] = leaf
            if _is_writable(self.trace, node, tensor):
                # Write in place: a module or a hook that holds this tensor then uses the leaf too.
                tensor.copy_(self._as_network_has_it(node, leaf, tensor.clone()))
            elif in_place:
                raise ConvlensError(
                    f"{self.trace.name(node)} of {self.trace.model_name} is a part of another "
                    f"tensor, at which no gradient can start; choose the layer before or after it"
                )
            else:
                continuation = self._as_network_has_it(node, leaf, tensor).clone()
        if self.requested <= self.activations.keys():
            raise _StopForward
        return continuation

    def _substitute(self, node: int, tensor: Tensor, *, in_place: bool) -> Tensor:
        """Start the graph at given activations instead of the tensor that the network computed."""
        if in_place or self._is_padded:
            raise ConvlensError(
                f"{self.trace.name(node)} of {self.trace.model_name} cannot be replaced by other "
                f"activations"
            )
        leaf = self.substitutes[node].detach().clone().requires_grad_()
        self.activations[node] = leaf
        return self._as_network_has_it(node, leaf, tensor).clone()

    @property
    def _is_padded(self) -> bool:
        """Whether the image runs twice, as the network drops the dimension of a single image."""
        return self.count == 1 and self.trace.recording.images == 2

    def _images_first(self, node: int, tensor: Tensor) -> Tensor:
        """A tensor of the network with the images along the first dimension.

        Raises:
            ConvlensError: the network gives it another shape than it did when it was traced.
        """
        dim = self.trace.image_dim(node)
        expected = (self.count + self._is_padded, *self.trace.shape(node)[1:])
        if tensor.ndim <= dim or tensor.movedim(dim, 0).shape != expected:
            raise ConvlensError(
                f"{self.trace.name(node)} of {self.trace.model_name} has shape "
                f"{tuple(tensor.shape)} for {_count_images(self.count)}, but {expected} was "
                f"expected after the trace, which is valid for {self.trace.valid_for}"
            )
        return tensor.movedim(dim, 0)[: self.count] if dim or self._is_padded else tensor

    def _as_network_has_it(self, node: int, activation: Tensor, tensor: Tensor) -> Tensor:
        """An activation in the layout of the network's own tensor."""
        dim = self.trace.image_dim(node)
        if self._is_padded:
            padding = tensor.detach().movedim(dim, 0)[self.count :]
            activation = torch.cat([activation, padding])
        return activation.movedim(0, dim) if dim else activation

    def _check_batch(self) -> None:
        """Check that each requested node holds one image at each position of a dimension."""
        for node in self.requested:
            self.trace.image_dim(node)

    def function_ends(self, call: ModuleCall, name: str, number: int, output: Any) -> Any:
        for part, tensor in enumerate(tensors_in(output)):
            node_name = NodeName(call.path, call.number, operation=name, number=number, part=part)
            node = self._node_of_operation.get(node_name)
            if node is not None:
                captured = self.capture(node, tensor, in_place=name == SETITEM)
                output = _replace_tensor(output, tensor, captured)
        return output

    def _attach(self, network: nn.Module, hooks: ExitStack) -> None:
        """Hook the modules that return a node; follow every operation only where that is needed."""
        for node in self.requested - {0, self.trace.recording.output}:
            node_name = self.trace.capture_point(node)
            if node_name is None:
                raise ConvlensError(
                    f"{self.trace.name(node)} is inside an operation, or written into a part of a "
                    f"tensor, where no run can be stopped; choose a layer before or after it"
                )
            if node_name.operation is None:
                hook = _ModuleHook(self, node, node_name)
                handle = network.get_submodule(node_name.path).register_forward_hook(hook)
                hooks.callback(handle.remove)
            else:
                self._node_of_operation[node_name] = node
        if self._node_of_operation:
            paths = {node_name.path for node_name in self._node_of_operation}
            hooks.enter_context(attach_listener(network, self, paths))

    def _forward(self, model: Model, network: nn.Module, images: Tensor) -> Tensor:
        """The output of the network; one that was made in inference mode runs on copied weights."""
        parameter = next(network.parameters(), None)
        try:
            if (
                parameter is None
                or not parameter.is_inference()
                or torch.is_inference_mode_enabled()
            ):
                return self._select(network(images))
            state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
            copies = {name: tensor.clone() for name, tensor in state.items()}
            return self._select(torch.func.functional_call(network, copies, (images,)))
        except (ConvlensError, MemoryError):
            raise
        except Exception as error:
            if error is self.callback_error:
                raise
            shape = " x ".join(map(str, images.shape[1:]))
            raise ConvlensError(
                f"{model.name} does not run on {_count_images(len(images))} of {shape}: "
                f"{first_line(error)}"
            ) from error

    def _select(self, output: Any) -> Tensor:
        """The tensor that the trace took for the class scores."""
        return select_output(output, index=self.trace.recording.output_index)

    def _check_complete(self, model: Model) -> None:
        missing = sorted(self.requested - self.activations.keys())
        if missing:
            raise ConvlensError(
                f"{model.name} did not come through {self.trace.name(missing[0])} for these "
                f"images, though it did when it was traced; the trace is valid for "
                f"{self.trace.valid_for}"
            )


def _count_images(count: int) -> str:
    return "an image" if count == 1 else f"{count} images"


@dataclass
class _ModuleHook:
    """A forward hook that captures a node when its module runs for the given time.

    Runs of the module in other threads are not counted and not changed.
    """

    capture: _Capture
    node: int
    node_name: NodeName
    runs: int = 0
    thread: int = field(default_factory=threading.get_ident)

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if threading.get_ident() != self.thread:
            return None
        self.runs += 1
        if self.runs != (self.node_name.call or 1):
            return None
        tensor = tensors_in(output)[self.node_name.part]
        return _replace_tensor(output, tensor, self.capture.capture(self.node, tensor))


def _is_writable(trace: Trace, node: int, tensor: Tensor) -> bool:
    """Whether a node's tensor may be written: not the user's, and without repeated elements."""
    producer = trace.structure.producers.get(node)
    if producer is None or node not in trace.on_image or 0 in tensor.stride():
        return False
    # torch forbids writing to a view that an operation with several outputs returned.
    return not (len(producer.outputs) > 1 and tensor._is_view())


def _replace_tensor(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same output with one of its tensors exchanged."""
    if old is new:
        return output
    return tree_map(lambda item: new if item is old else item, output)
