"""One forward pass, which ends as soon as all requested nodes are captured."""

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from convlens.errors import ConvlensError, first_line
from convlens.models.model import Model
from convlens.models.outputs import select_output
from convlens.tracing.recording.hooks import (
    SETITEM,
    Listener,
    ModuleCall,
    attach_listener,
    tensors_in,
)
from convlens.tracing.recording.node_names import NodeName
from convlens.tracing.trace import Trace


class _StopForward(BaseException):
    """All requested nodes are captured. Not an Exception, so that no network catches it."""


@dataclass
class Capture(Listener):
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
                Default: False.
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
                f"or the code of an autograd.Function); remove that, or choose a layer outside"
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
                tensor.copy_(self._as_network_has_it(node, leaf, tensor))
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
                f"{model.name} did not compute {self.trace.name(missing[0])} for these "
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

    capture: Capture
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
