"""The probe: run a network up to a place, and start gradients there.

The forward pass ends as soon as everything asked for has been seen. Gradients are recorded only
from the places named on: the parameters are frozen, nothing below those places keeps a graph.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from convlens.errors import ConvlensError
from convlens.guard import untouched
from convlens.model import Model, select_output
from convlens.tracing import Place, Trace
from convlens.tracing.walk import Call, Listener, tensors_in, walk


def observe(
    model: Model,
    trace: Trace,
    images: Tensor,
    values: Sequence[int],
    *,
    start: Sequence[int] = (),
) -> dict[int, Tensor]:
    """The values of a trace, computed for a batch of images.

    Args:
        model: the model that was traced; it is left untouched.
        trace: made by `convlens.tracing.trace` for images of this size.
        images: `(N, C, H, W)` inside the bounds. Where they require gradients, so does what
            follows from them.
        values: what to return, by number in the trace (`trace.find(name)`, `trace.logits`).
        start: values among these at which a graph starts: they come back as tensors that
            `torch.autograd.grad` can be taken to, from everything that was computed after them.

    Returns:
        A tensor for each value, first dimension N. What an operation in place does later to the
        network's own tensor does not show in it.

    Raises:
        ConvlensError: images that the model does not take, or a value that this run did not come
            through (a network that decides by its data).
    """
    wanted = dict.fromkeys((*values, *start))
    graph = bool(start) or images.requires_grad
    with untouched(model.network) as network, torch.set_grad_enabled(graph):
        prepared = model.normalise(model.check(images))
        watcher = _Watcher(trace, set(wanted), set(start))
        if 0 in wanted:
            prepared = watcher.caught(0, prepared)
        try:
            with ExitStack() as undo:
                watcher.attach(network, undo)
                output = select_output(network(prepared))
            if trace.recording.output in wanted:
                watcher.seen[trace.recording.output] = output
        except _Enough:
            pass
    missing = [trace.name(value) for value in wanted if value not in watcher.seen]
    if missing:
        raise ConvlensError(
            f"{model.name} did not come through {missing[0]} for these images, "
            f"though it did when it was traced; the trace is valid for {trace.valid_for}"
        )
    return watcher.seen


def gradients(outputs: Tensor, starts: Sequence[Tensor], directions: Tensor) -> tuple[Tensor, ...]:
    """Gradients of several weighted sums of `outputs` in one backward pass.

    Args:
        outputs: `(N, ...)`, computed from `starts`.
        starts: tensors `(N, ...)` from `observe(start=...)`.
        directions: `(K, N, ...)`, the weights of the K sums over `outputs`.

    Returns:
        For each start the gradients `(K, N, ...)`; zero where outputs do not depend on it.
    """
    if len(directions) == 1:
        found = torch.autograd.grad(outputs, starts, directions[0], materialize_grads=True)
        return tuple(gradient.unsqueeze(0) for gradient in found)
    try:
        return torch.autograd.grad(
            outputs,
            starts,
            directions,
            is_grads_batched=True,
            retain_graph=True,
            materialize_grads=True,
        )
    except RuntimeError:  # an operation that cannot be batched, such as one written by hand
        rows = [
            torch.autograd.grad(
                outputs, starts, direction, retain_graph=True, materialize_grads=True
            )
            for direction in directions
        ]
        return tuple(torch.stack(column) for column in zip(*rows, strict=True))


@contextmanager
def recording() -> Iterator[None]:
    """Gradients can be taken inside, also where the caller has switched them off."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


class _Enough(BaseException):
    """Everything asked for has been seen. Not an Exception: no network may catch it."""


@dataclass
class _Watcher(Listener):
    trace: Trace
    wanted: set[int]
    start: set[int]
    seen: dict[int, Tensor] = field(default_factory=dict)
    _steps: dict[Place, int] = field(default_factory=dict)

    def attach(self, network: nn.Module, undo: ExitStack) -> None:
        """Hook what is needed: single modules where that is enough, else the whole walk."""
        modules = dict(network.named_modules())
        for value in self.wanted - {0, self.trace.recording.output}:
            place = _made_at(self.trace, value)
            if place.operation is None:
                counter = _ModuleCounter(self, value, place)
                handle = modules[place.path].register_forward_hook(counter)
                undo.callback(handle.remove)
            else:
                self._steps[place] = value
        if self._steps:
            undo.enter_context(walk(network, self))

    def operated(self, call: Call, name: str, number: int, output: Any) -> Any:
        tensors = tensors_in(output)
        for part, tensor in enumerate(tensors):
            place = Place(call.path, call.number, operation=name, number=number, part=part)
            value = self._steps.get(place)
            if value is None:
                continue
            caught = self.caught(value, tensor)
            if caught is not tensor:
                output = _replaced(output, part, caught)
        return output

    def caught(self, value: int, tensor: Tensor) -> Tensor:
        """Keep what was computed, and give what the network is to go on with."""
        last = len(self.seen) + 1 == len(self.wanted)
        if value not in self.start:
            self.seen[value] = tensor if last else tensor.clone()
            self._stop_if_done()
            return tensor
        if tensor.requires_grad:
            self.seen[value] = tensor
            handed = tensor.clone()
        else:
            kept = tensor.detach().clone().requires_grad_()
            self.seen[value] = kept
            if _shares_memory(self.trace, value) and 0 not in tensor.stride():
                # Written where it stands, since others hold the same memory.
                tensor.copy_(kept)
                handed = tensor
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
    value: int
    place: Place
    runs: int = 0

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        self.runs += 1
        if self.runs != (self.place.call or 1):
            return None
        tensor = tensors_in(output)[self.place.part]
        caught = self.watcher.caught(self.value, tensor)
        return None if caught is tensor else _replaced(output, self.place.part, caught)


def _made_at(trace: Trace, value: int) -> Place:
    """Where to catch a value: as soon as it is made, before anything reads it.

    The module that made it will do if nothing inside reads it; else the operation itself.
    """
    maker = trace.structure.maker.get(value)
    readers = trace.structure.readers.get(value, [])
    operations = [place for place in trace.places(value) if place.operation is not None]
    for place in trace.places(value):
        if place.operation is not None or place.given or maker is None or maker.call is None:
            continue
        call = maker.call
        here = place.path == call.path and place.call in (None, call.number)
        if here and not any(reader.call is call for reader in readers):
            return place
    if operations:
        # The walk counts every run of a module, also of one that runs once.
        return replace(operations[0], call=operations[0].call or 1)
    raise ConvlensError(
        f"{trace.name(value)} is computed inside a compiled operation and cannot be caught; "
        f"choose the layer before or after it"
    )


def _shares_memory(trace: Trace, value: int) -> bool:
    """Whether another tensor of the network holds the memory of this value."""
    maker = trace.structure.maker.get(value)
    if maker is None or maker.function is None:
        return True
    if any(returned.alias_info is not None for returned in maker.function._schema.returns):
        return True
    readers = trace.structure.readers.get(value, [])
    return any(reader.name == "write_through" for reader in readers)


def _replaced(output: Any, part: int, tensor: Tensor) -> Any:
    """The same output with one of its tensors exchanged."""
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, dict):
        keys = [key for key, item in output.items() if isinstance(item, Tensor)]
        return type(output)({**output, keys[part]: tensor})
    items = list(output)
    items[part] = tensor
    if hasattr(output, "_make"):
        return output._make(items)
    return type(output)(items)
