"""The recorder: runs a copy of a network once and records every operation that it executes.

The copy runs on fake tensors (shapes without memory) or on a real image. A dispatch mode records
the operations, and a listener records the module calls in which they happen.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from convlens.models.outputs import NoClassScoresError, output_index
from convlens.runtime.clone import clone_network
from convlens.runtime.composite_operations import run_parts
from convlens.tracing.recording.fake_batch_norm import fake_batch_norm
from convlens.tracing.recording.hooks import Listener, ModuleCall, attach_listener, tensors_in
from convlens.tracing.recording.known_values import pair_tensors
from convlens.tracing.recording.node_names import NodeName
from convlens.tracing.recording.recording import (
    FunctionCall,
    ModuleRun,
    NodeRef,
    Operation,
    RecordedCall,
    Recording,
)
from convlens.tracing.recording.tensor_nodes import TensorNodes, storage_layout

SelectOutput = Callable[[Any, Callable[[Tensor, Tensor], bool]], Tensor]

FAILED_CALL = "convlens_call"  # attribute of a network's error: the module call that raised it


def record(
    network: nn.Module,
    images: Tensor,
    select: SelectOutput,
    *,
    fake: bool,
    describe_error: Callable[[Exception], str] | None = None,
) -> Recording:
    """Run a copy of a network on images `(N, C, H, W)` and record what it executes.

    Args:
        network: left untouched; the copy runs in evaluation mode.
        images: as the network takes them, normalized. With `fake` only their shape, type and
            device are used.
        select: picks the tensor of class scores from what the network returns, by a function that
            tells whether a tensor was computed from another one.
        fake: whether to use fake tensors.
        describe_error: puts an error of the network into words; the recording then ends where the
            network raised it. Default: the error is raised.

    Raises:
        Exception: whatever the network raises; with fake tensors also for what these cannot do
            (`.item()`, numpy, branches on data).
    """
    fake_mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else None
    clone = clone_network(network, fake_mode)
    image = fake_mode.from_tensor(images) if fake_mode else images.clone()
    tensor_nodes = TensorNodes(image, pair_tensors(network, clone) if fake_mode else None)
    events = _EventRecorder(tensor_nodes)
    listening = attach_listener(clone, events)
    dispatch = _OperationRecorder(tensor_nodes, events)
    returned, output, stopped, no_scores = None, None, "", ""
    with torch.no_grad(), fake_mode or nullcontext(), listening as stack, dispatch:
        try:
            returned = clone(image)
            output = select(returned, tensor_nodes.is_computed_from)
        except NoClassScoresError as error:
            no_scores = str(error)
        except Exception as error:
            error.__dict__[FAILED_CALL] = stack[-1]
            if describe_error is None:
                raise
            stopped = describe_error(error)
    return Recording(
        shapes=tuple(tensor_nodes.shapes),
        operations=tuple(tensor_nodes.operations),
        events=tuple(events.finished()),
        runs=events.runs(),
        node_names=events.node_names(),
        parameters={
            tensor_nodes.read(parameter): name for name, parameter in clone.named_parameters()
        },
        output=tensor_nodes.read(output) if output is not None else -1,
        faked=fake,
        stopped=stopped,
        no_scores=no_scores,
        constants=tensor_nodes.constants,
        complex_nodes=tuple(tensor_nodes.complex_nodes),
        images=len(images),
        output_index=output_index(returned, output) if output is not None else None,
        other_outputs=tuple(
            tensor_nodes.read(item)
            for item in (returned if isinstance(returned, (tuple, list)) else ())
            if isinstance(item, Tensor) and item is not output
        ),
    )


class _EventRecorder(Listener):
    """Records module runs and function calls, and names nodes by them.

    Attributes:
        stack: the module calls that have begun and not ended, the innermost last.
    """

    def __init__(self, tensor_nodes: TensorNodes) -> None:
        self.stack: list[ModuleCall] = []
        self._tensor_nodes = tensor_nodes
        self._events: list[ModuleCall | FunctionCall] = []
        self._input_node: dict[ModuleCall, int | None] = {}
        self._output_nodes: dict[ModuleCall, tuple[int, ...]] = {}
        self._recorded: dict[ModuleCall, RecordedCall] = {}
        self._num_assigned = 0  # operations that belong to an event already

    def module_begins(
        self, call: ModuleCall, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        tensors = tensors_in((*inputs, options))
        self._input_node[call] = self._tensor_nodes.read(tensors[0]) if tensors else None
        self._events.append(call)
        self.stack.append(call)
        self._num_assigned = len(self._tensor_nodes.operations)

    def module_ends(self, call: ModuleCall, output: Any) -> None:
        self._output_nodes[call] = self._nodes_in(output)
        self.stack.pop()
        self._num_assigned = len(self._tensor_nodes.operations)

    def function_ends(self, call: ModuleCall, name: str, number: int, output: Any) -> Any:
        operations = tuple(self._tensor_nodes.operations[self._num_assigned :])
        output_nodes = self._nodes_in(output)
        node_name = NodeName(call.path, call.number, operation=name, number=number)
        self._events.append(FunctionCall(self.recorded(call), node_name, operations, output_nodes))
        self._num_assigned = len(self._tensor_nodes.operations)
        return output

    def finished(self) -> Iterator[ModuleRun | FunctionCall]:
        """All events of the run."""
        for event in self._events:
            if isinstance(event, ModuleCall):
                outputs = self._output_nodes.get(event, ())
                yield ModuleRun(self.recorded(event), self._input_node[event], outputs)
            else:
                yield event

    def runs(self) -> dict[str, int]:
        """Number of runs of each module, by its path."""
        return dict(Counter(call.path for call in self._calls()))

    def node_names(self) -> dict[int, tuple[NodeName, ...]]:
        """The names of each node, the most specific first.

        The first name is that of the innermost module that computed the node, or else of a
        function call. Names with a call number, and those of modules that only pass the node on,
        come later.
        """
        runs = self.runs()
        ranked: dict[int, list[tuple[int, NodeName]]] = defaultdict(list)

        def add(node: int, rank: int, node_name: NodeName) -> None:
            node_name = node_name.brief(runs)
            late = 3 if node_name.call is not None else 0
            ranked[node].append((rank + late, node_name))

        for call in reversed(self._calls()):
            if not call.path:
                continue
            input_node = self._input_node[call]
            for part, node in enumerate(self._output_nodes.get(call, ())):
                rank = 2 if node == input_node else 0
                add(node, rank, NodeName(call.path, call.number, part=part))
            if input_node is not None:
                add(input_node, 5, NodeName(call.path, call.number, is_input=True))
        for event in self._events:
            if isinstance(event, FunctionCall):
                for part, node in enumerate(event.output_nodes):
                    add(node, 1, replace(event.node_name, part=part))
        return {
            node: tuple(node_name for _, node_name in sorted(names, key=lambda pair: pair[0]))
            for node, names in ranked.items()
        }

    def recorded(self, call: ModuleCall) -> RecordedCall:
        """What is kept of a call."""
        if call not in self._recorded:
            is_leaf = next(call.module.children(), None) is None
            kind = type(call.module).__name__
            self._recorded[call] = RecordedCall(call.path, call.number, kind, is_leaf)
        return self._recorded[call]

    def _nodes_in(self, output: Any) -> tuple[int, ...]:
        return tuple(self._tensor_nodes.read(tensor) for tensor in tensors_in(output))

    def _calls(self) -> list[ModuleCall]:
        return [event for event in self._events if isinstance(event, ModuleCall)]


class _OperationRecorder(TorchDispatchMode):
    """Records each executed operation with the nodes that it reads and returns."""

    def __init__(self, tensor_nodes: TensorNodes, events: _EventRecorder) -> None:
        super().__init__()
        self._tensor_nodes = tensor_nodes
        self._events = events

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = run_parts(self, func, args, kwargs)
        if output is not NotImplemented:
            return output
        schema = func._schema
        named = dict(zip((argument.name for argument in schema.arguments), args, strict=False))
        named.update(kwargs)
        # Read before the operation runs: an in-place operation changes the node of its argument.
        arguments = tree_map_only(
            Tensor, lambda tensor: NodeRef(self._tensor_nodes.read(tensor)), named
        )
        name = func._opname.rstrip("_") or func._opname
        if name == "as_strided":  # its strides are those of the storage, not of the tensor
            arguments["layout"] = storage_layout(named["self"])
        output = fake_batch_norm(func._opname, named)
        if output is None:
            output = func(*args, **kwargs)
        returned = [] if isinstance(output, torch.Size) else tensors_in(output)
        written = [
            named[argument.name]
            for argument in schema.arguments
            if argument.alias_info is not None
            and argument.alias_info.is_write
            and isinstance(named.get(argument.name), Tensor)
        ]
        if not returned and not written:
            return output
        inputs: list[int] = []
        tree_map_only(NodeRef, lambda ref: inputs.append(ref.node), arguments)
        self._tensor_nodes.operations.append(
            Operation(
                name=name,
                function=func,
                arguments=arguments,
                inputs=tuple(inputs),
                outputs=self._add_outputs(returned, written),
                call=self._events.recorded(self._events.stack[-1]) if self._events.stack else None,
            )
        )
        return output

    def _add_outputs(self, returned: list[Tensor], written: list[Tensor]) -> tuple[int, ...]:
        """Add a node for each tensor that an operation returned or wrote in place."""
        outputs = []
        for tensor in returned:
            node = self._tensor_nodes.new_node(tensor)
            outputs.append(node)
            if not any(tensor is target for target in written):
                self._tensor_nodes.assign(tensor, node)
        for target in written:
            matches = [
                node for node, tensor in zip(outputs, returned, strict=False) if tensor is target
            ]
            node = matches[0] if matches else self._tensor_nodes.new_node(target)
            if not matches:
                outputs.append(node)
            self._tensor_nodes.write(target, node)
        return tuple(outputs)
