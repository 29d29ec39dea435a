"""Capture of activations and gradients at the nodes of a trace.

The forward pass stops after the last node that is captured. Gradients are recorded from those nodes
on: the parameters are frozen, and nothing below the nodes keeps a graph.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import CheckpointError

from convlens.errors import ConvlensError, first_line
from convlens.models.model import Model
from convlens.models.output_head import select_output
from convlens.runtime.guard import untouched
from convlens.tracing.node_names import NodeName
from convlens.tracing.recorder import NodeRef
from convlens.tracing.trace import Trace
from convlens.tracing.walk import Call, Listener, tensors_in, walk


def observe(
    model: Model,
    trace: Trace,
    images: Tensor,
    nodes: Sequence[int],
    *,
    start: Sequence[int] = (),
) -> dict[int, Tensor]:
    """Capture the activations at nodes of a trace for a batch of images.

    Args:
        model: the model that was traced; it is left untouched.
        trace: made by `convlens.tracing.trace` for images of this size.
        images: `(N, C, H, W)` inside the bounds. Where they require gradients, so does what
            follows from them.
        nodes: what to return, by number in the trace (`trace.find_node(name)`, `trace.logits`).
        start: nodes among these at which a graph starts: they come back as tensors that
            `torch.autograd.grad` can be taken to, from everything that was computed after them.

    Returns:
        A tensor for each node, first dimension N. What an operation in place does later to the
        network's own tensor does not show in it.

    Raises:
        ConvlensError: images that the model does not take or that the network raises something
            on, or a node that this run did not come through (a network that decides by its data).
    """
    wanted = dict.fromkeys((*nodes, *start))
    graph = bool(start) or images.requires_grad
    if images.is_inference() and not torch.is_inference_mode_enabled():
        images = images.clone()  # gradients cannot pass through what was made without any
    with untouched(model.network) as network, torch.set_grad_enabled(graph):
        prepared = model.normalize(model.check(images))
        watcher = _Watcher(trace, set(wanted), set(start))
        try:
            if 0 in wanted:
                prepared = watcher.caught(0, prepared)
            with ExitStack() as undo:
                watcher.attach(network, undo)
                output = _run(model, network, prepared, watcher)
            if trace.recording.output in wanted:
                watcher.seen[trace.recording.output] = output
        except _Enough:
            pass
    _complete(model, trace, watcher)
    return watcher.seen


def stream(
    model: Model,
    trace: Trace,
    images: Tensor,
    nodes: Collection[int],
    tell: Callable[[int, Tensor], None],
) -> None:
    """Call a function with the activations at each node when they are computed; keep none.

    Nothing is copied: what `tell` is given is the network's own tensor, without a graph, and may be
    overwritten as soon as `tell` returns. The forward pass ends after the last node.

    Args:
        model: the model that was traced; it is left untouched.
        trace: made by `convlens.tracing.trace` for images of this size.
        images: `(N, C, H, W)` inside the bounds, which is not checked again for each batch.
        nodes: by number in the trace.
        tell: called with a node's number and its tensor, first dimension N.

    Raises:
        ConvlensError: as `observe`.
    """
    model.check_shape(images)
    with untouched(model.network) as network, torch.no_grad():
        prepared = model.normalize(images)
        watcher = _Watcher(trace, set(nodes), set(), tell=tell)
        try:
            if 0 in watcher.wanted:
                watcher.caught(0, prepared)
            with ExitStack() as undo:
                watcher.attach(network, undo)
                output = _run(model, network, prepared, watcher)
            if trace.recording.output in watcher.wanted:
                watcher.caught(trace.recording.output, output)
        except _Enough:
            pass
    _complete(model, trace, watcher)


def gradients(outputs: Tensor, starts: Sequence[Tensor], directions: Tensor) -> tuple[Tensor, ...]:
    """Gradients of several weighted sums of `outputs` in one backward pass.

    Args:
        outputs: `(N, ...)`, computed from `starts`.
        starts: tensors `(N, ...)` from `observe(start=...)`.
        directions: `(K, N, ...)`, the weights of the K sums over `outputs`.

    Returns:
        For each start the gradients `(K, N, ...)`; zero where outputs do not depend on it.

    Raises:
        ConvlensError: as `backward`.
    """
    if not outputs.requires_grad:
        return tuple(torch.zeros(len(directions), *start.shape).to(start) for start in starts)
    with backward():
        try:
            return _batched(outputs, starts, directions)
        except CheckpointError:
            raise
        except RuntimeError:  # an operation that cannot be batched, such as one written by hand
            rows = [_batched(outputs, starts, one.unsqueeze(0)) for one in directions]
            return tuple(torch.cat(column) for column in zip(*rows, strict=True))


@contextmanager
def backward() -> Iterator[None]:
    """What a network raises in a backward pass inside becomes a ConvlensError with that cause."""
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
        raise ConvlensError(
            f"no gradient can be taken through the network: {first_line(error)}"
        ) from error


def _complete(model: Model, trace: Trace, watcher: "_Watcher") -> None:
    missing = [trace.name(node) for node in sorted(watcher.wanted) if node not in watcher.seen]
    if missing:
        raise ConvlensError(
            f"{model.name} did not come through {missing[0]} for these images, "
            f"though it did when it was traced; the trace is valid for {trace.valid_for}"
        )


def _batched(outputs: Tensor, starts: Sequence[Tensor], directions: Tensor) -> tuple[Tensor, ...]:
    several = len(directions) > 1
    columns = torch.autograd.grad(
        outputs,
        starts,
        directions if several else directions[0],
        is_grads_batched=several,
        retain_graph=True,
        allow_unused=True,
    )
    return tuple(
        torch.zeros(len(directions), *start.shape).to(start)
        if column is None
        else column.reshape(len(directions), *start.shape)
        for column, start in zip(columns, starts, strict=True)
    )


@contextmanager
def recording() -> Iterator[None]:
    """Gradients can be taken inside, also where the caller has switched them off."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


def _run(model: Model, network: nn.Module, images: Tensor, watcher: "_Watcher") -> Tensor:
    """The network on images; where it was made in inference mode, on copies of its tensors."""
    first = next(network.parameters(), None)
    try:
        if first is None or not first.is_inference() or torch.is_inference_mode_enabled():
            return select_output(network(images))
        state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        copies = {name: tensor.clone() for name, tensor in state.items()}
        return select_output(torch.func.functional_call(network, copies, (images,)))
    except (ConvlensError, MemoryError):
        raise
    except Exception as error:
        if error is watcher.failed:
            raise
        count, *shape = images.shape
        several = "an image" if count == 1 else f"{count} images"
        raise ConvlensError(
            f"{model.name} does not run on {several} of {' x '.join(map(str, shape))}: "
            f"{first_line(error)}"
        ) from error


class _Enough(BaseException):
    """Everything asked for has been seen. Not an Exception: no network may catch it."""


@dataclass
class _Watcher(Listener):
    trace: Trace
    wanted: set[int]
    start: set[int]
    tell: Callable[[int, Tensor], None] | None = None
    seen: dict[int, Tensor] = field(default_factory=dict)
    failed: Exception | None = None  # what `tell` raised, which is not the network's
    _steps: dict[NodeName, int] = field(default_factory=dict)

    def attach(self, network: nn.Module, undo: ExitStack) -> None:
        """Hook what is needed: single modules where that is enough, else the whole walk."""
        for node in self.wanted - {0, self.trace.recording.output}:
            node_name = _made_at(self.trace, node)
            if node_name.operation is None:
                counter = _ModuleCounter(self, node, node_name)
                handle = network.get_submodule(node_name.path).register_forward_hook(counter)
                undo.callback(handle.remove)
            else:
                self._steps[node_name] = node
        if self._steps:
            undo.enter_context(walk(network, self, {node_name.path for node_name in self._steps}))

    def operated(self, call: Call, name: str, number: int, output: Any) -> Any:
        for part, tensor in enumerate(tensors_in(output)):
            node_name = NodeName(call.path, call.number, operation=name, number=number, part=part)
            node = self._steps.get(node_name)
            if node is not None:
                output = _replaced(output, tensor, self.caught(node, tensor))
        return output

    def caught(self, node: int, tensor: Tensor) -> Tensor:
        """Keep what was computed, and give what the network is to go on with."""
        last = len(self.seen) + 1 == len(self.wanted)
        handed = tensor
        if self.tell is not None:
            try:
                self.tell(node, tensor)
            except Exception as error:
                self.failed = error
                raise
            self.seen[node] = tensor.new_empty(0)
        elif node not in self.start:
            self.seen[node] = tensor if last else tensor.clone()
        elif tensor.requires_grad:
            # It follows from another start, so it is in the graph already.
            self.seen[node] = tensor
            if _overwritten(self.trace, node):
                handed = tensor.clone()
        else:
            kept = tensor.detach().clone().requires_grad_()
            self.seen[node] = kept
            if _writable(self.trace, node, tensor):
                # Where it stands, so that whoever else holds this tensor goes on with it too.
                tensor.copy_(kept)
            else:
                handed = kept.clone()
        self._stop_if_done()
        return handed

    def _stop_if_done(self) -> None:
        if self.wanted <= self.seen.keys():
            raise _Enough


@dataclass
class _ModuleCounter:
    """A forward hook that waits for one run of a module."""

    watcher: _Watcher
    node: int
    node_name: NodeName
    runs: int = 0

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        self.runs += 1
        if self.runs != (self.node_name.call or 1):
            return None
        tensor = tensors_in(output)[self.node_name.part]
        return _replaced(output, tensor, self.watcher.caught(self.node, tensor))


def _made_at(trace: Trace, node: int) -> NodeName:
    """Where to catch a node: as soon as it is made, before anything reads it.

    The module that made it will do if nothing inside reads it; else the operation itself.
    """
    producer = trace.structure.producers.get(node)
    consumers = trace.structure.consumers.get(node, [])
    operations = [
        node_name for node_name in trace.node_names(node) if node_name.operation is not None
    ]
    for node_name in trace.node_names(node):
        if (
            node_name.operation is not None
            or node_name.given
            or producer is None
            or producer.call is None
        ):
            continue
        call = producer.call
        here = node_name.path == call.path and node_name.call in (None, call.number)
        if here and not any(consumer.call is call for consumer in consumers):
            return node_name
    if operations:
        # The walk counts every run of a module, also of one that runs once.
        return replace(operations[0], call=operations[0].call or 1)
    raise ConvlensError(
        f"{trace.name(node)} is computed inside a compiled operation and cannot be caught; "
        f"choose the layer before or after it"
    )


def _writable(trace: Trace, node: int, tensor: Tensor) -> bool:
    """Whether the network's own tensor may be written: none of the user's, one element a place."""
    producer = trace.structure.producers.get(node)
    if producer is None or node not in trace.on_image or 0 in tensor.stride():
        return False
    # torch forbids writing to one of several views that one operation gave.
    return not (len(producer.outputs) > 1 and tensor._is_view())


def _overwritten(trace: Trace, node: int) -> bool:
    """Whether an operation in place later writes over this node."""
    for consumer in trace.structure.consumers.get(node, []):
        if consumer.function is None:
            return True
        for argument in consumer.function._schema.arguments:
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and consumer.arguments.get(argument.name) == NodeRef(node):
                return True
    return False


def _replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same output with one of its tensors exchanged."""
    if old is new:
        return output
    return tree_map(lambda item: new if item is old else item, output)
