"""The traces of each network, kept as long as nothing changes on which they depend."""

from collections.abc import Hashable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from convlens.models.model import Model
from convlens.runtime.guard import unwrap_network
from convlens.tracing.registry import registry_version

Entry = TypeVar("Entry")
_PRIMITIVES = (
    bool, int, float, str, bytes, type(None), torch.dtype, torch.device, BuiltinFunctionType,
)  # fmt: skip
_PRIMITIVE_TYPES = frozenset(_PRIMITIVES)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
# The attributes that every module has: its mode, and the dictionaries of its tensors and hooks.
_COMMON_ATTRIBUTES = frozenset(vars(nn.Module()))


@dataclass(frozen=True)
class TraceKey:
    """Which trace of a network is asked for.

    Attributes:
        channels: number of channels of the images.
        size: height and width of the images in pixels.
        partly: what is asked of a network that raises an error, as for `trace`.
    """

    channels: int
    size: tuple[int, int]
    partly: bool | str


class TraceCache(Generic[Entry]):
    """Traces, or recordings, by network and key; a network that has changed since has none."""

    def __init__(self) -> None:
        self._entries: WeakKeyDictionary[nn.Module, dict[TraceKey, tuple[Hashable, Entry]]] = (
            WeakKeyDictionary()
        )

    def find(self, model: Model, key: TraceKey, state: Hashable) -> Entry | None:
        """The entry of a key if the network was in the same state when it was added; else None."""
        known = self._entries.get(unwrap_network(model.network), {})
        saved_state, entry = known.get(key, (None, None))
        return entry if saved_state == state else None

    def add(self, model: Model, key: TraceKey, state: Hashable, entry: Entry) -> None:
        """Keep an entry until the state of the network is another one."""
        self._entries.setdefault(unwrap_network(model.network), {})[key] = (state, entry)


def network_state(model: Model) -> Hashable:
    """Everything on which a trace on fake tensors depends, apart from the size of the images.

    These are the modules with their names, hooks and plain attributes, the shapes and types of
    their tensors, what chooses among several outputs, the registered operations and PyTorch's
    default type; not the values of weights.
    """
    network = unwrap_network(model.network)
    modules = tuple(
        (path, ref(module), _module_state(module)) for path, module in network.named_modules()
    )
    num_labels = len(model.labels) if model.labels is not None else None
    return (
        modules, num_labels, model.output, model.device, model.dtype, torch.get_default_dtype(),
        registry_version(),
    )  # fmt: skip


def _module_state(module: nn.Module) -> Hashable:
    attributes = vars(module)
    tensors = [
        (name, tensor.shape, tensor.dtype, tensor.device)
        for kind in ("_parameters", "_buffers")
        for name, tensor in attributes[kind].items()
        if tensor is not None
    ]
    hooks = [tuple(attributes[name]) for name in _HOOKS]  # their numbers are unique
    others = [
        (name, value if type(value) in _PRIMITIVE_TYPES else _frozen(value))
        for name, value in attributes.items()
        if name not in _COMMON_ATTRIBUTES
    ]
    return tuple(tensors), tuple(hooks), tuple(others)


def _frozen(value: Any) -> Hashable:
    """A plain value, or one made of plain values, in a form that can be compared."""
    if isinstance(value, _PRIMITIVES):
        return value
    if isinstance(value, FunctionType):
        return ref(value)  # its closure may hold the network, whose entry must not keep it alive
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    return None
