"""The node that each tensor holds while a network runs, with in-place operations and views.

Tensors are mutable and share memory; nodes do neither. An in-place operation gives its tensor a new
node, and so does a write to any other tensor that shares memory with it.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from convlens.tracing.recording.ancestors import find_ancestor_nodes
from convlens.tracing.recording.known_values import copy_value
from convlens.tracing.recording.recording import NodeRef, Operation


@dataclass(frozen=True)
class StorageLayout:
    """The position of a tensor's elements in its storage.

    Attributes:
        shape: of the tensor.
        stride: distance of neighboring elements along each dimension.
        offset: index of the first element.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def end(self) -> int:
        """Index after the last element."""
        dimensions = zip(self.shape, self.stride, strict=True)
        return self.offset + 1 + sum((size - 1) * stride for size, stride in dimensions)


class TensorNodes:
    """The current node of each tensor, and the operations that were executed.

    All tensors are kept alive, so that no `id` is used twice.

    Attributes:
        shapes: shape of each node, by its index.
        complex_nodes: indices of the nodes of complex numbers.
        operations: in the order of execution.
        constants: values of nodes of integers, of truth values or of a single number that no
            operation returned, as they are when they are first read.
    """

    def __init__(self, image: Tensor, originals: Mapping[int, Tensor] | None = None) -> None:
        """Start with the node of the image.

        Args:
            image: the network's input.
            originals: the real tensors of fake ones, by the `id` of the fake one. Default: none.
        """
        self._originals = originals or {}
        self.constants: dict[int, Tensor] = {}
        self.shapes: list[tuple[int, ...]] = []
        self.complex_nodes: list[int] = []
        self.operations: list[Operation] = []
        self._constants: set[int] = set()
        self._nodes: dict[int, tuple[Tensor, int, int]] = {}
        self._writes: dict[int, list[_Write]] = defaultdict(list)
        self._sharing: dict[int, list[Tensor]] = defaultdict(list)
        self._num_writes = 0
        self.assign(image, self.new_node(image))

    def new_node(self, tensor: Tensor) -> int:
        """Add a node with the shape of a tensor; return its index."""
        self.shapes.append(tuple(tensor.shape))
        node = len(self.shapes) - 1
        if tensor.is_complex():
            self.complex_nodes.append(node)
        return node

    def assign(self, tensor: Tensor, node: int) -> None:
        """Record that a tensor holds a node from now on."""
        if id(tensor) not in self._nodes:
            self._sharing[_storage_id(tensor)].append(tensor)
        self._nodes[id(tensor)] = (tensor, node, self._num_writes)

    def read(self, tensor: Tensor) -> int:
        """The node that a tensor holds now."""
        if id(tensor) not in self._nodes:
            self._add_unknown(tensor)
        _, node, assigned_at = self._nodes[id(tensor)]
        for write in self._writes.get(_storage_id(tensor), ()):
            if write.number <= assigned_at or write.tensor is tensor:
                continue
            if storage_layout(write.tensor) == storage_layout(tensor):
                node = write.node
            else:
                node = self._write_through(tensor, node, write.tensor, write.node)
            self.assign(tensor, node)
        return self._nodes[id(tensor)][1]

    def write(self, tensor: Tensor, node: int) -> None:
        """Record that an in-place operation left a node in a tensor."""
        self._num_writes += 1
        self.assign(tensor, node)
        self._writes[_storage_id(tensor)].append(_Write(self._num_writes, tensor, node))

    def is_computed_from(self, tensor: Tensor, source: Tensor) -> bool:
        """Whether the operations so far computed a tensor from another one."""
        node, source_node = self.read(tensor), self.read(source)
        return source_node in find_ancestor_nodes(self.operations, [node])

    def _add_unknown(self, tensor: Tensor) -> None:
        """Add a tensor that no operation returned: a parameter, or an alias such as `.data`."""
        relatives = self._sharing[_storage_id(tensor)]
        nodes = [self.read(relative) for relative in relatives]
        for relative, node in zip(relatives, nodes, strict=True):
            if storage_layout(relative) == storage_layout(tensor):
                self.assign(tensor, node)
                return
        node = self.new_node(tensor)
        if nodes and not self._constants.issuperset(nodes):
            node = self._write_through(tensor, node, relatives[-1], nodes[-1])
        else:
            self._constants.add(node)
            value = copy_value(self._originals.get(id(tensor), tensor))
            if value is not None:
                self.constants[node] = value
        self.assign(tensor, node)

    def _write_through(self, tensor: Tensor, before: int, view: Tensor, written: int) -> int:
        """Add a node for a tensor after another view of its storage was written."""
        node = self.new_node(tensor)
        arguments = {
            "before": NodeRef(before),
            "written": NodeRef(written),
            "base": storage_layout(tensor),
            "view": storage_layout(view),
        }
        self.operations.append(
            Operation("write_through", None, arguments, (before, written), (node,), None)
        )
        return node


@dataclass
class _Write:
    """An in-place operation: its number, the tensor that it wrote, and the node that it left."""

    number: int
    tensor: Tensor
    node: int


def _storage_id(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def storage_layout(tensor: Tensor) -> StorageLayout:
    """The layout of a tensor in its storage."""
    return StorageLayout(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))
