"""The recorder: run a copy of a network once and note every operation that it really executes.

The copy runs on fake tensors (shapes without memory) where it can, else on a real image.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from convlens.runtime.clone import duplicate
from convlens.tracing.nodes import Place
from convlens.tracing.walk import Call, Listener, tensors_in, walk


@dataclass(frozen=True)
class Ref:
    """Stands for a value in an operation's arguments."""

    value: int


@dataclass(frozen=True, eq=False)
class Operation:
    """One executed operation of torch's own core set.

    Attributes:
        name: of the operation, without overload or trailing underscore ("convolution", "add").
        function: the overload itself, or None for a write through a view.
        arguments: by name as in its schema; tensors stand as `Ref`.
        inputs: the values that it read.
        outputs: the values that it made; an operation in place makes a new value too.
        call: the innermost module run in which it was executed.
    """

    name: str
    function: Any
    arguments: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: Call | None


@dataclass(frozen=True, eq=False)
class ModuleRun:
    """One run of one module, with the values that it took and gave (None: no tensor)."""

    call: Call
    given: int | None
    gave: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One call of torch's Python interface in a module's own code.

    Attributes:
        call: the module run.
        place: its name.
        operations: the executed operations that it came down to.
        gave: the values that it gave.
    """

    call: Call
    place: Place
    operations: tuple[Operation, ...]
    gave: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Recording:
    """All that was noted of one run.

    Attributes:
        shapes: of each value, by its number; value 0 is the normalized image.
        operations: in the order of execution.
        events: module runs and steps, in the order in which runs began and steps ended.
        runs: how often each module ran, by its path.
        places: the places at which each value stood, most telling name first.
        parameters: names of the parameters among the values.
        output: the value that the network returned (its class scores); -1 where it stopped before.
        faked: whether fake tensors sufficed, so that it holds for every input of this size.
        stopped: why it did not run to its end, in words; empty if it did.
    """

    shapes: tuple[tuple[int, ...], ...]
    operations: tuple[Operation, ...]
    events: tuple[ModuleRun | Step, ...]
    runs: dict[str, int]
    places: dict[int, tuple[Place, ...]]
    parameters: dict[int, str]
    output: int
    faked: bool
    stopped: str = ""


STOPPED = "convlens_call"  # what an error that the network raised carries: the module run


def record(
    network: nn.Module,
    images: Tensor,
    select: Any,
    *,
    fake: bool,
    partly: Callable[[Exception], str] | None = None,
) -> Recording:
    """Run a copy of `network` on `images` `(N, C, H, W)` and note what happened.

    Args:
        network: left untouched; the copy runs in evaluation mode.
        images: as the network takes them, normalized. With `fake` only their shape, type and
            device are used.
        select: picks the tensor of class scores from what the network returns.
        fake: use fake tensors.
        partly: puts into words what the network raised; what ran until then is returned. Default:
            it is raised on.

    Raises:
        Whatever the network raises, and what fake tensors cannot do (`.item()`, numpy, branches
        on data).
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else None
    twin = duplicate(network, mode)
    image = mode.from_tensor(images) if mode else images.clone()
    ledger = _Ledger(image)
    scribe = _Scribe(ledger)
    following = walk(twin, scribe)
    output, stopped = None, ""
    with torch.no_grad(), mode or _nothing(), following as stack, _Dispatch(ledger, scribe):
        try:
            output = select(twin(image))
        except Exception as error:
            error.__dict__[STOPPED] = stack[-1]
            if partly is None:
                raise
            stopped = partly(error)
    return Recording(
        shapes=tuple(ledger.shapes),
        operations=tuple(ledger.operations),
        events=tuple(scribe.finished()),
        runs=scribe.runs(),
        places=scribe.named(),
        parameters={ledger.read(parameter): name for name, parameter in twin.named_parameters()},
        output=ledger.read(output) if output is not None else -1,
        faked=fake,
        stopped=stopped,
    )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@dataclass
class _Write:
    """An operation in place: when, on which tensor, and the value that it left there."""

    when: int
    tensor: Tensor
    value: int


class _Ledger:
    """Which value each tensor holds now.

    Tensors are mutable and share memory; values are not and do not. An operation in place gives
    its tensor a new value, and a tensor that shares memory with one written since holds a new
    value too. All tensors are kept, so that no identity is used twice.
    """

    def __init__(self, image: Tensor) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.operations: list[Operation] = []
        self.constants: set[int] = set()
        self._held: dict[int, tuple[Tensor, int, int]] = {}
        self._writes: dict[int, list[_Write]] = defaultdict(list)
        self._sharing: dict[int, list[Tensor]] = defaultdict(list)
        self._clock = 0
        self.hold(image, self.new(image))

    def new(self, tensor: Tensor) -> int:
        self.shapes.append(tuple(tensor.shape))
        return len(self.shapes) - 1

    def hold(self, tensor: Tensor, value: int) -> None:
        if id(tensor) not in self._held:
            self._sharing[_memory(tensor)].append(tensor)
        self._held[id(tensor)] = (tensor, value, self._clock)

    def read(self, tensor: Tensor) -> int:
        """The value that `tensor` holds now."""
        if id(tensor) not in self._held:
            self._discover(tensor)
        _, value, since = self._held[id(tensor)]
        for write in self._writes.get(_memory(tensor), ()):
            if write.when <= since or write.tensor is tensor:
                continue
            if _geometry(write.tensor) == _geometry(tensor):
                value = write.value
            else:
                value = self._written_through(tensor, value, write.tensor, write.value)
            self.hold(tensor, value)
        return self._held[id(tensor)][1]

    def write(self, tensor: Tensor, value: int) -> None:
        self._clock += 1
        self.hold(tensor, value)
        self._writes[_memory(tensor)].append(_Write(self._clock, tensor, value))

    def _discover(self, tensor: Tensor) -> None:
        """Hold a tensor that no operation made: a parameter, or an alias such as `.data`."""
        relatives = self._sharing[_memory(tensor)]
        values = [self.read(relative) for relative in relatives]
        for relative, value in zip(relatives, values, strict=True):
            if _geometry(relative) == _geometry(tensor):
                self.hold(tensor, value)
                return
        value = self.new(tensor)
        if values and not self.constants.issuperset(values):
            value = self._written_through(tensor, value, relatives[-1], values[-1])
        else:
            self.constants.add(value)
        self.hold(tensor, value)

    def _written_through(self, tensor: Tensor, before: int, view: Tensor, written: int) -> int:
        value = self.new(tensor)
        arguments = {
            "before": Ref(before),
            "written": Ref(written),
            "base": _geometry(tensor),
            "view": _geometry(view),
        }
        self.operations.append(
            Operation("write_through", None, arguments, (before, written), (value,), None)
        )
        return value


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@dataclass(frozen=True)
class Geometry:
    """How a tensor lies in its memory."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        """One beyond its last element."""
        steps = zip(self.shape, self.stride, strict=True)
        return self.offset + 1 + sum((size - 1) * stride for size, stride in steps)


def _geometry(tensor: Tensor) -> Geometry:
    return Geometry(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))


class _Scribe(Listener):
    """Notes module runs and steps, and names values by where they stood."""

    def __init__(self, ledger: _Ledger) -> None:
        self.stack: list[Call] = []
        self._ledger = ledger
        self._events: list[Call | Step] = []
        self._given: dict[Call, int | None] = {}
        self._gave: dict[Call, tuple[int, ...]] = {}
        self._noted = 0

    def entered(self, call: Call, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        tensors = tensors_in((*inputs, options))
        self._given[call] = self._ledger.read(tensors[0]) if tensors else None
        self._events.append(call)
        self.stack.append(call)
        self._noted = len(self._ledger.operations)

    def left(self, call: Call, output: Any) -> None:
        self._gave[call] = tuple(self._ledger.read(tensor) for tensor in tensors_in(output))
        self.stack.pop()
        self._noted = len(self._ledger.operations)

    def operated(self, call: Call, name: str, number: int, output: Any) -> Any:
        operations = tuple(self._ledger.operations[self._noted :])
        gave = tuple(self._ledger.read(tensor) for tensor in tensors_in(output))
        place = Place(call.path, call.number, operation=name, number=number)
        self._events.append(Step(call, place, operations, gave))
        self._noted = len(self._ledger.operations)
        return output

    def finished(self) -> Iterator[ModuleRun | Step]:
        for event in self._events:
            if isinstance(event, Call):
                yield ModuleRun(event, self._given[event], self._gave.get(event, ()))
            else:
                yield event

    def _calls(self) -> list[Call]:
        return [event for event in self._events if isinstance(event, Call)]

    def runs(self) -> dict[str, int]:
        return Counter(call.path for call in self._calls())

    def named(self) -> dict[int, tuple[Place, ...]]:
        """The places of each value, the most telling first.

        That is what the innermost module gave whose own work the value is, or an operation's name;
        names that need a call number, and modules that only passed the value on, come later.
        """
        runs = self.runs()
        places: dict[int, list[tuple[int, Place]]] = defaultdict(list)

        def add(value: int, rank: int, place: Place) -> None:
            place = place.brief(runs)
            late = 3 if place.call is not None else 0
            places[value].append((rank + late, place))

        for call in reversed(self._calls()):
            if not call.path:
                continue
            given = self._given[call]
            for part, value in enumerate(self._gave.get(call, ())):
                add(value, 2 if value == given else 0, Place(call.path, call.number, part=part))
            if given is not None:
                add(given, 5, Place(call.path, call.number, given=True))
        for event in self._events:
            if isinstance(event, Step):
                for part, value in enumerate(event.gave):
                    add(value, 1, replace(event.place, part=part))
        return {
            value: tuple(place for _, place in sorted(found, key=lambda pair: pair[0]))
            for value, found in places.items()
        }


class _Dispatch(TorchDispatchMode):
    """Writes each executed operation into the ledger."""

    def __init__(self, ledger: _Ledger, scribe: _Scribe) -> None:
        super().__init__()
        self._ledger = ledger
        self._scribe = scribe

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        named = dict(zip((argument.name for argument in schema.arguments), args, strict=False))
        named.update(kwargs)
        # Read before the operation runs: one in place changes what its arguments hold.
        arguments = tree_map_only(Tensor, lambda tensor: Ref(self._ledger.read(tensor)), named)
        output = func(*args, **kwargs)
        made = [] if isinstance(output, torch.Size) else tensors_in(output)
        written = [
            named[argument.name]
            for argument in schema.arguments
            if argument.alias_info is not None
            and argument.alias_info.is_write
            and isinstance(named.get(argument.name), Tensor)
        ]
        if not made and not written:
            return output
        outputs = []
        for tensor in made:
            value = self._ledger.new(tensor)
            outputs.append(value)
            if not any(tensor is target for target in written):
                self._ledger.hold(tensor, value)
        for target in written:
            matches = [v for v, tensor in zip(outputs, made, strict=False) if tensor is target]
            value = matches[0] if matches else self._ledger.new(target)
            if not matches:
                outputs.append(value)
            self._ledger.write(target, value)
        inputs: list[int] = []
        tree_map_only(Ref, lambda ref: inputs.append(ref.value), arguments)
        self._ledger.operations.append(
            Operation(
                name=func._opname.rstrip("_") or func._opname,
                function=func,
                arguments=arguments,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                call=self._scribe.stack[-1] if self._scribe.stack else None,
            )
        )
        return output
