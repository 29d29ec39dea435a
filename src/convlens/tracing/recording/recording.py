"""What the recorder writes down: operations, module runs, and the nodes that they read and return.

A recording is data only. `recorder.py` makes it, `structure.py` and `receptive_field/` read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from convlens.tracing.recording.node_names import NodeName


@dataclass(frozen=True)
class NodeRef:
    """A node among the arguments of an operation, in place of its tensor."""

    node: int


@dataclass(frozen=True)
class RecordedCall:
    """A call of a module, without the module itself.

    Attributes:
        path: dotted name of the module; "" is the network itself.
        number: number of this call among those of the module, from 1; 0 for code outside any
            module, such as a hook on the network.
        kind: name of the module's class.
        is_leaf: whether the module has no submodules.
    """

    path: str
    number: int
    kind: str
    is_leaf: bool


@dataclass(frozen=True, eq=False)
class Operation:
    """One executed operation of PyTorch's core operator set (ATen), or of an operator library.

    Attributes:
        name: name of the operation without overload and trailing underscore ("convolution",
            "add").
        function: the overload itself, or None for a write through a view.
        arguments: by name as in the operation's schema; tensors are replaced by `NodeRef`. Those of
            `as_strided` include the `layout` of its tensor in its storage.
        inputs: indices of the nodes that it reads.
        outputs: indices of the nodes that it returns; an in-place operation returns a new node too.
        call: the innermost module call in which it was executed.
    """

    name: str
    function: Any
    arguments: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: RecordedCall | None

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
    """One call of a module, with the nodes that it received and returned.

    Attributes:
        call: the module call.
        input_node: index of its first input tensor; None if it received no tensor.
        output_nodes: indices of the tensors that it returned.
    """

    call: RecordedCall
    input_node: int | None
    output_nodes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """One call of PyTorch's Python interface in a module's own code.

    Attributes:
        call: the module call in which it happened.
        node_name: name of its first output.
        operations: the operations that it executed.
        output_nodes: indices of the tensors that it returned.
    """

    call: RecordedCall
    node_name: NodeName
    operations: tuple[Operation, ...]
    output_nodes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Recording:
    """Everything that was recorded of one run of a network.

    Attributes:
        shapes: shape of each node, by its index; node 0 is the normalized image.
        operations: in the order of execution.
        events: module runs and function calls, in the order in which module runs began and function
            calls ended.
        runs: number of runs of each module, by its path.
        node_names: the names of each node, the most specific first.
        parameters: names of the parameters among the nodes.
        output: index of the node that the network returned (its class scores); -1 if it stopped
            before, or returned no class scores.
        faked: whether it ran on fake tensors, so that the recording is valid for every input of
            this size.
        stopped: why the network did not run to its end, in words; empty if it did.
        no_scores: what the network returned instead of class scores, in words; empty if it returned
            class scores.
        constants: values of nodes of integers, of truth values or of a single number that no
            operation returned, such as buffers and lists of indices, by the node's index.
        complex_nodes: indices of the nodes of complex numbers, which are no feature maps.
        images: number of images that it ran on: 1, or 2 for a network that drops the dimension of
            the images when there is one.
        other_outputs: indices of the other tensors of a sequence in which the network returned the
            class scores.
        output_index: position of `output` in that sequence; None if the network returned no
            sequence.
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
    no_scores: str = ""
    constants: Mapping[int, Tensor] = field(default_factory=dict)
    complex_nodes: tuple[int, ...] = ()
    images: int = 1
    other_outputs: tuple[int, ...] = ()
    output_index: int | None = None

    @property
    def ends_early(self) -> bool:
        """Whether the network stopped before its end, or returned no class scores."""
        return bool(self.stopped or self.no_scores)

    def ran_without_tensors(self, path: str) -> bool:
        """Whether a module ran, but inside a transform such as `torch.vmap`, as `hooks` says."""
        return any(
            isinstance(event, ModuleRun)
            and event.call.path == path
            and event.input_node is None
            and not event.output_nodes
            for event in self.events
        )
