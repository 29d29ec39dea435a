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

from convlens.runtime.clone import clone_network
from convlens.tracing.node_names import NodeName
from convlens.tracing.walk import Call, Listener, tensors_in, walk


@dataclass(frozen=True)
class NodeRef:
    """Stands for a node in an operation's arguments."""

    node: int


@dataclass(frozen=True, eq=False)
class Operation:
    """One executed operation of torch's own core set.

    Attributes:
        name: of the operation, without overload or trailing underscore ("convolution", "add").
        function: the overload itself, or None for a write through a view.
        arguments: by name as in its schema; tensors stand as `NodeRef`.
        inputs: the nodes that it read.
        outputs: the nodes that it made; an operation in place makes a new node too.
        call: the innermost module run in which it was executed.
    """

    name: str
    function: Any
    arguments: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: Call | None

    @property
    def qualified_name(self) -> str:
        """Namespace and name, such as `aten::convolution`."""
        return f"{self.function.namespace}::{self.name}" if self.function else self.name

    @property
    def built_in(self) -> bool:
        """Whether it is one of PyTorch's own core operations."""
        return self.function is None or self.function.namespace in ("aten", "prims")


@dataclass(frozen=True, eq=False)
class ModuleRun:
    """One run of one module, with the nodes that it took and gave (None: no tensor)."""

    call: Call
    given: int | None
    gave: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """One call of torch's Python interface in a module's own code.

    Attributes:
        call: the module run.
        node_name: its name.
        operations: the executed operations that it came down to.
        gave: the nodes that it gave.
    """

    call: Call
    node_name: NodeName
    operations: tuple[Operation, ...]
    gave: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Recording:
    """All that was noted of one run.

    Attributes:
        shapes: of each node, by its number; node 0 is the normalized image.
        operations: in the order of execution.
        events: module runs and steps, in the order in which runs began and steps ended.
        runs: how often each module ran, by its path.
        node_names: the names of each node, the most telling first.
        parameters: names of the parameters among the nodes.
        output: the node that the network returned (its class scores); -1 where it stopped before.
        faked: whether fake tensors sufficed, so that it holds for every input of this size.
        stopped: why it did not run to its end, in words; empty if it did.
    """

    shapes: tuple[tuple[int, ...], ...]
    operations: tuple[Operation, ...]
    events: tuple[ModuleRun | FunctionCall, ...]
    runs: dict[str, int]
    node_names: dict[int, tuple[NodeName, ...]]
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
    clone = clone_network(network, mode)
    image = mode.from_tensor(images) if mode else images.clone()
    ledger = _Ledger(image)
    scribe = _Scribe(ledger)
    following = walk(clone, scribe)
    output, stopped = None, ""
    with torch.no_grad(), mode or _nothing(), following as stack, _Dispatch(ledger, scribe):
        try:
            output = select(clone(image))
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
        node_names=scribe.named(),
        parameters={ledger.read(parameter): name for name, parameter in clone.named_parameters()},
        output=ledger.read(output) if output is not None else -1,
        faked=fake,
        stopped=stopped,
    )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@dataclass
class _Write:
    """An operation in place: when, on which tensor, and the node that it left there."""

    when: int
    tensor: Tensor
    node: int


class _Ledger:
    """Which node each tensor holds now.

    Tensors are mutable and share memory; nodes are not and do not. An operation in place gives
    its tensor a new node, and a tensor that shares memory with one written since holds a new
    node too. All tensors are kept, so that no identity is used twice.
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

    def hold(self, tensor: Tensor, node: int) -> None:
        if id(tensor) not in self._held:
            self._sharing[_memory(tensor)].append(tensor)
        self._held[id(tensor)] = (tensor, node, self._clock)

    def read(self, tensor: Tensor) -> int:
        """The node that `tensor` holds now."""
        if id(tensor) not in self._held:
            self._discover(tensor)
        _, node, since = self._held[id(tensor)]
        for write in self._writes.get(_memory(tensor), ()):
            if write.when <= since or write.tensor is tensor:
                continue
            if _storage_layout(write.tensor) == _storage_layout(tensor):
                node = write.node
            else:
                node = self._written_through(tensor, node, write.tensor, write.node)
            self.hold(tensor, node)
        return self._held[id(tensor)][1]

    def write(self, tensor: Tensor, node: int) -> None:
        self._clock += 1
        self.hold(tensor, node)
        self._writes[_memory(tensor)].append(_Write(self._clock, tensor, node))

    def _discover(self, tensor: Tensor) -> None:
        """Hold a tensor that no operation made: a parameter, or an alias such as `.data`."""
        relatives = self._sharing[_memory(tensor)]
        nodes = [self.read(relative) for relative in relatives]
        for relative, node in zip(relatives, nodes, strict=True):
            if _storage_layout(relative) == _storage_layout(tensor):
                self.hold(tensor, node)
                return
        node = self.new(tensor)
        if nodes and not self.constants.issuperset(nodes):
            node = self._written_through(tensor, node, relatives[-1], nodes[-1])
        else:
            self.constants.add(node)
        self.hold(tensor, node)

    def _written_through(self, tensor: Tensor, before: int, view: Tensor, written: int) -> int:
        node = self.new(tensor)
        arguments = {
            "before": NodeRef(before),
            "written": NodeRef(written),
            "base": _storage_layout(tensor),
            "view": _storage_layout(view),
        }
        self.operations.append(
            Operation("write_through", None, arguments, (before, written), (node,), None)
        )
        return node


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@dataclass(frozen=True)
class StorageLayout:
    """How a tensor lies in its memory."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        """One beyond its last element."""
        steps = zip(self.shape, self.stride, strict=True)
        return self.offset + 1 + sum((size - 1) * stride for size, stride in steps)


def _storage_layout(tensor: Tensor) -> StorageLayout:
    return StorageLayout(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))


class _Scribe(Listener):
    """Notes module runs and steps, and names nodes by where they stood."""

    def __init__(self, ledger: _Ledger) -> None:
        self.stack: list[Call] = []
        self._ledger = ledger
        self._events: list[Call | FunctionCall] = []
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
        node_name = NodeName(call.path, call.number, operation=name, number=number)
        self._events.append(FunctionCall(call, node_name, operations, gave))
        self._noted = len(self._ledger.operations)
        return output

    def finished(self) -> Iterator[ModuleRun | FunctionCall]:
        for event in self._events:
            if isinstance(event, Call):
                yield ModuleRun(event, self._given[event], self._gave.get(event, ()))
            else:
                yield event

    def _calls(self) -> list[Call]:
        return [event for event in self._events if isinstance(event, Call)]

    def runs(self) -> dict[str, int]:
        return Counter(call.path for call in self._calls())

    def named(self) -> dict[int, tuple[NodeName, ...]]:
        """The names of each node, the most telling first.

        That is what the innermost module gave whose own work the node is, or an operation's name;
        names that need a call number, and modules that only passed the node on, come later.
        """
        runs = self.runs()
        node_names: dict[int, list[tuple[int, NodeName]]] = defaultdict(list)

        def add(node: int, rank: int, node_name: NodeName) -> None:
            node_name = node_name.brief(runs)
            late = 3 if node_name.call is not None else 0
            node_names[node].append((rank + late, node_name))

        for call in reversed(self._calls()):
            if not call.path:
                continue
            given = self._given[call]
            for part, node in enumerate(self._gave.get(call, ())):
                add(node, 2 if node == given else 0, NodeName(call.path, call.number, part=part))
            if given is not None:
                add(given, 5, NodeName(call.path, call.number, given=True))
        for event in self._events:
            if isinstance(event, FunctionCall):
                for part, node in enumerate(event.gave):
                    add(node, 1, replace(event.node_name, part=part))
        return {
            node: tuple(node_name for _, node_name in sorted(found, key=lambda pair: pair[0]))
            for node, found in node_names.items()
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
        arguments = tree_map_only(Tensor, lambda tensor: NodeRef(self._ledger.read(tensor)), named)
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
            node = self._ledger.new(tensor)
            outputs.append(node)
            if not any(tensor is target for target in written):
                self._ledger.hold(tensor, node)
        for target in written:
            matches = [v for v, tensor in zip(outputs, made, strict=False) if tensor is target]
            node = matches[0] if matches else self._ledger.new(target)
            if not matches:
                outputs.append(node)
            self._ledger.write(target, node)
        inputs: list[int] = []
        tree_map_only(NodeRef, lambda ref: inputs.append(ref.node), arguments)
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
