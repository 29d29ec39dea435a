"""Values of nodes that do not depend on the image, such as indices that a network's code makes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_map_only

from convlens.tracing.recording.recording import NodeRef, Operation, Recording

_MAX_ELEMENTS = 2**20  # larger tensors are not kept and not computed


class KnownValues:
    """Computes the values of nodes from constants, when they are asked for.

    The network ran on fake tensors, which have no values. The operations that led from constants
    (lists of numbers in its code, buffers of integers) to a node run again on real tensors.
    """

    def __init__(self, recording: Recording, producers: Mapping[int, Operation]) -> None:
        self._recording = recording
        self._producers = producers
        self._values: dict[int, Tensor | None] = dict(recording.constants)

    def value(self, node: int) -> Tensor | None:
        """The value of a node; None if it is not known."""
        if node not in self._values:
            self._values[node] = None  # until it is computed
            self._values[node] = self._compute(node)
        return self._values[node]

    def _compute(self, node: int) -> Tensor | None:
        operation = self._producers.get(node)
        if operation is None or node == 0 or not _is_repeatable(operation):
            return None
        if torch.Size(self._recording.shapes[node]).numel() > _MAX_ELEMENTS:
            return None
        inputs = {read: self.value(read) for read in operation.inputs}
        if any(value is None for value in inputs.values()):
            return None

        def real(ref: NodeRef) -> Tensor:
            value = inputs[ref.node]
            assert value is not None
            return value.clone()  # the operation may write into it

        arguments: dict[str, Any] = tree_map_only(NodeRef, real, operation.arguments)
        if arguments.get("device") is not None:
            arguments["device"] = torch.device("cpu")
        with torch.no_grad():
            returned = operation.function(**arguments)
        outputs = returned if isinstance(returned, (tuple, list)) else (returned,)
        output = outputs[operation.outputs.index(node)]
        return output if isinstance(output, Tensor) else None


def copy_value(tensor: Tensor) -> Tensor | None:
    """A copy of a small tensor of integers or truth values, or of a single number; else None.

    Of fake tensors, only those that the network's code made from numbers have values.
    """
    if tensor.is_complex() or tensor.is_quantized or tensor.is_meta:
        return None
    if tensor.is_floating_point() and tensor.numel() != 1:
        return None
    if tensor.numel() > _MAX_ELEMENTS or tensor.layout != torch.strided:
        return None
    if isinstance(tensor, FakeTensor):
        return tensor.constant
    with no_dispatch():  # else a dispatch mode records the copy, or makes it fake
        return tensor.detach().cpu().clone()


def pair_tensors(network: nn.Module, clone: nn.Module) -> dict[int, Tensor]:
    """The buffers and the tensor attributes of a network, by the `id` of their clones."""
    pairs: dict[int, Tensor] = {}
    for module, cloned in zip(network.modules(), clone.modules(), strict=True):
        for tensors in (vars(module), module._buffers):
            for name, tensor in tensors.items():
                copied = cloned._buffers.get(name, vars(cloned).get(name))
                if isinstance(tensor, Tensor) and isinstance(copied, Tensor):
                    pairs[id(copied)] = tensor
    return pairs


def _is_repeatable(operation: Operation) -> bool:
    """Whether an operation returns the same again: one of PyTorch's own without random numbers.

    `as_strided` does not: it reads the storage, and copies are laid out in another way.
    """
    return (
        operation.function is not None
        and operation.built_in
        and torch.Tag.nondeterministic_seeded not in operation.function.tags
        and not operation.name.startswith("empty")
        and operation.name != "as_strided"
    )
