"""The state of a network: what its trace depends on, in a form that can be compared.

A trace is kept as long as this state is the same. Weights do not count, as a trace is made on fake
tensors; settings do, also those in the dictionaries and the configuration objects of modules.
"""

from collections.abc import Collection, Hashable
from enum import Enum
from functools import partial
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from convlens.models.model import Model
from convlens.runtime.guard import unwrap_network
from convlens.runtime.module_contents import is_plain_object
from convlens.tracing.recording.known_values import copy_value
from convlens.tracing.registry import registry_version

_PRIMITIVES = (
    bool, int, float, complex, str, bytes, range, type(None), Enum, np.generic, torch.dtype,
    torch.device, torch.layout, torch.memory_format, BuiltinFunctionType,
)  # fmt: skip
_PRIMITIVE_TYPES = frozenset(_PRIMITIVES)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")
# The attributes that every module has: its mode, and the dictionaries of its tensors and hooks.
_COMMON_ATTRIBUTES = frozenset(vars(nn.Module()))
_DEPTH = 8  # containers and objects inside one another
_MOST_ITEMS = 1000  # of a container; such as the settings of a network, not the names of its data
# Buffers that no run in evaluation mode reads, of which a network has one for each normalization.
_UNREAD = "num_batches_tracked"


def network_state(model: Model) -> Hashable:
    """Everything on which a trace on fake tensors depends, apart from the size of the images.

    These are the modules with their names, classes, hooks and settings; the shapes and types of
    their tensors, and the values of those from which indices are computed; what chooses among
    several outputs, the registered operations and PyTorch's default type; not the values of
    weights.
    """
    network = unwrap_network(model.network)
    modules = tuple(
        (path, ref(module), _module_state(module)) for path, module in network.named_modules()
    )
    num_labels = len(model.labels) if model.labels is not None else None
    global_hooks = tuple(tuple(getattr(torch_module, name)) for name in _GLOBAL_HOOKS)
    return (
        modules, global_hooks, num_labels, model.output, model.device, model.dtype,
        torch.get_default_dtype(), registry_version(),
    )  # fmt: skip


def _module_state(module: nn.Module) -> Hashable:
    attributes, cls = vars(module), type(module)
    parameters = [
        (name, tensor.shape, tensor.dtype, tensor.device)
        for name, tensor in attributes["_parameters"].items()
        if tensor is not None
    ]
    buffers = [
        (name, _tensor_state(tensor))
        for name, tensor in attributes["_buffers"].items()
        if tensor is not None and name != _UNREAD
    ]
    hooks = [tuple(attributes[name]) for name in _HOOKS]  # their numbers are unique
    settings = [
        (name, value if type(value) in _PRIMITIVE_TYPES else _freeze(value))
        for name, value in attributes.items()
        if name not in _COMMON_ATTRIBUTES
    ]
    # A class may have another `forward` than before, and a module may have another class.
    code = (ref(cls), _freeze(cls.forward))
    return code, tuple(parameters), tuple(buffers), tuple(hooks), tuple(settings)


def _tensor_state(tensor: Tensor) -> Hashable:
    """Shape, type and device of a tensor; its values where a trace reads them."""
    value = copy_value(tensor)
    values = None if value is None else value.reshape(-1).view(torch.uint8).numpy().tobytes()
    return tensor.shape, tensor.dtype, tensor.device, values


def _freeze(value: Any, depth: int = _DEPTH) -> Hashable:  # noqa: PLR0911 # one for each kind
    """A setting in a form that can be compared; None for what is no setting, such as a module."""
    # First the two kinds of which a network has hundreds.
    if isinstance(value, FunctionType):
        return ref(value)  # its closure may hold the network, whose entry must not keep it alive
    if type(value) is tuple and _PRIMITIVE_TYPES.issuperset(map(type, value)):
        return value  # such as the strides of a convolution
    if isinstance(value, _PRIMITIVES):
        return value
    if isinstance(value, Tensor):
        return _tensor_state(value)
    if depth == 0 or isinstance(value, nn.Module):
        return None
    if isinstance(value, MethodType):
        return _freeze(value.__func__)
    if isinstance(value, partial):
        return _freeze((value.func, value.args, value.keywords), depth)
    if isinstance(value, dict):
        return _freeze_items(value, depth), _freeze_items(value.values(), depth)
    if isinstance(value, (list, tuple)):
        if _PRIMITIVE_TYPES.issuperset(map(type, value)):
            return tuple(value)
        return _freeze_items(value, depth)
    if isinstance(value, (set, frozenset)):
        return len(value), frozenset(_freeze_items(value, depth)[1:])
    if is_plain_object(type(value)):
        return ref(type(value)), _freeze(vars(value), depth - 1)
    return None


def _freeze_items(items: Collection[Any], depth: int) -> tuple[Hashable, ...]:
    """How many items a container has, and the first of them."""
    return len(items), *(_freeze(item, depth - 1) for item in islice(items, _MOST_ITEMS))
