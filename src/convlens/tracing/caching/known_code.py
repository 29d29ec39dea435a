"""Networks whose code is known: that of installed libraries, in the versions that are installed.

What such a network executes depends on its classes, on the attributes of its modules and on its
tensors, which can be compared with those of an earlier process. The code of a user can change from
one process to the next in ways that nobody sees from outside.
"""

import contextlib
import dataclasses
import enum
import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from importlib.util import find_spec
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from convlens.models.model import Model
from convlens.runtime.fingerprints import (
    fingerprint_weights,
    keep_weight_fingerprints,
    to_plain,
)
from convlens.runtime.guard import unwrap_network
from convlens.runtime.module_list import list_modules
from convlens.tracing.caching.network_state import network_state

LIBRARIES = ("torch", "torchvision", "timm", "convlens")
_PLAIN = (
    bool, int, float, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format
)  # fmt: skip
_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
)  # fmt: skip
_GLOBAL_HOOKS = (
    "_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks",
    "_global_backward_pre_hooks",
)  # fmt: skip
_WRAPPERS = (contextlib.__file__, functools.__file__)  # in which decorators define functions
_COMMON_ATTRIBUTES = frozenset(vars(nn.Module()))  # of every module; those that count are read here

# Inside `keep_descriptions`: what `_hash_modules` returned for each network, in which state.
_known_hashes: ContextVar[WeakKeyDictionary[nn.Module, tuple[Hashable, str | None]] | None] = (
    ContextVar("hashes of modules", default=None)
)


class _UnknownCodeError(Exception):
    """Something in a network is neither plain data nor the code of a library."""


def describe_known_model(model: Model) -> dict[str, Any] | None:
    """Everything that decides what a model computes, as plain data.

    Args:
        model: the model.

    Returns:
        A hash of the classes and attributes of its modules, one of their tensors, its preprocessing
        and its outputs; None if code that belongs to no installed library takes part.
    """
    network = unwrap_network(model.network)
    known_hashes = _known_hashes.get()
    if known_hashes is None:
        modules = _hash_modules(network)
    else:
        state = network_state(model)
        known_state, modules = known_hashes.get(network, (None, None))
        if known_state != state:
            modules = _hash_modules(network)
            known_hashes[network] = state, modules
    if modules is None:
        return None
    fed = (model.preprocessing, model.mean, model.std, model.bounds, model.center, model.channels)
    labels = len(model.labels) if model.labels is not None else None
    return {
        "modules": modules,
        "weights": fingerprint_weights(network),
        "fed": to_plain(fed),
        "outputs": [model.output, labels],
    }


@contextmanager
def keep_descriptions() -> Iterator[None]:
    """Hash the modules and the weights of each network once inside the block.

    The modules are hashed again when something changes on which a trace depends, and the weights
    when PyTorch writes one; see `keep_weight_fingerprints` for the changes that this does not see.
    """
    outer = _known_hashes.get()
    token = _known_hashes.set(WeakKeyDictionary() if outer is None else outer)
    try:
        with keep_weight_fingerprints():
            yield
    finally:
        _known_hashes.reset(token)


def _hash_modules(network: nn.Module) -> str | None:
    """A hash of the classes and attributes of modules; None if they are of no library."""
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return None
    # A network has hundreds of modules of a dozen classes.
    if not all(map(_is_library_class, set(map(type, list_modules(network))))):
        return None
    first_names: dict[int, str] = {}  # tensors may be tied
    try:
        modules = [
            [path, *_describe_module(module, path, first_names)]
            for path, module in network.named_modules(remove_duplicate=False)
        ]
    except _UnknownCodeError:
        return None
    return hashlib.sha256(json.dumps(modules, sort_keys=True).encode()).hexdigest()


def _describe_module(module: nn.Module, path: str, first_names: dict[int, str]) -> list[Any]:
    if "forward" in vars(module):
        raise _UnknownCodeError
    if any(getattr(module, name) for name in _HOOKS):
        raise _UnknownCodeError
    tensors = {
        name: first_names.setdefault(id(tensor), f"{path}.{name}") if tensor is not None else None
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
    }
    attributes = {
        name: _describe(value)
        for name, value in vars(module).items()
        if name not in _COMMON_ATTRIBUTES
    }
    return [_name(type(module)), tensors, attributes]


def _describe(value: Any) -> Any:  # noqa: PLR0911 # one return for each kind
    """An attribute of a module as plain data.

    Raises:
        _UnknownCodeError: it is of another kind.
    """
    match value:
        case enum.Enum():
            return [_name(type(value)), _describe(value.value)]
        case Tensor():
            return to_plain(value)
        case _ if isinstance(value, _PLAIN):
            return [type(value).__name__, str(value)]
        case type():
            return _library_name(value)
        case BuiltinFunctionType():
            return _library_name(value)
        case FunctionType():
            if not _is_library_code(value.__code__) or value.__closure__ is not None:
                raise _UnknownCodeError
            return _library_name(value)
        case partial():
            return ["partial", *map(_describe, (value.func, value.args, value.keywords))]
        case Mapping():
            items = [[_describe(key), _describe(item)] for key, item in value.items()]
            return [type(value).__name__, items]
        case Set():
            return [type(value).__name__, sorted(map(_describe, value), key=str)]
        case Sequence():
            return [type(value).__name__, [_describe(item) for item in value]]
    if dataclasses.is_dataclass(value) and _is_library_class(type(value)):
        fields = dataclasses.fields(value)
        described = {field.name: _describe(getattr(value, field.name)) for field in fields}
        return [_name(type(value)), described]
    raise _UnknownCodeError


def _library_name(value: Callable[..., Any]) -> str:
    if (value.__module__ or "").partition(".")[0] not in LIBRARIES or "<" in value.__qualname__:
        raise _UnknownCodeError
    return _name(value)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _is_library_class(cls: type) -> bool:
    """Whether a class and its bases are code of a library, with the methods that they came with."""
    return (
        all(
            _is_library_code(function.__code__)
            for base in cls.__mro__
            if base.__module__.partition(".")[0] not in sys.stdlib_module_names
            for function in vars(base).values()
            if isinstance(function, FunctionType)
        )
        and cls.__module__.partition(".")[0] in LIBRARIES
    )


def _is_library_code(code: CodeType) -> bool:
    return code.co_filename in _WRAPPERS or code.co_filename.startswith(_library_folders())


@cache
def _library_folders() -> tuple[str, ...]:
    specs = filter(None, map(find_spec, LIBRARIES))
    return tuple(
        f"{folder}{os.sep}" for spec in specs for folder in spec.submodule_search_locations or ()
    )
