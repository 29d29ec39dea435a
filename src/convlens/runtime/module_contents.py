"""The mutable objects that the modules of a network hold."""

import random
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Objects of other classes are followed as far as an object that such an object holds. Without this
# limit, an attribute like the trainer of a training framework would lead through the whole program.
_OBJECT_DEPTH = 2
_LIBRARIES = frozenset({*sys.stdlib_module_names, "numpy", "torch"})
_LARGE = 50  # items, from which a container is not searched item by item if it holds constants only


@dataclass
class ModuleContents:
    """The mutable objects that the modules of a network hold, each once but for empty containers.

    Attributes:
        parameters: the parameters.
        containers: the attribute dictionaries of the modules, and the dictionaries, lists, sets and
            deques in them at any depth. Attributes of other objects are such dictionaries, too.
        empty: containers that hold nothing yet.
        tensors: buffers, and other tensors in these containers.
        arrays: numpy arrays and byte arrays in them.
        generators: random generators of torch, Python and numpy in them.
    """

    parameters: list[nn.Parameter] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)
    empty: list[Any] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)
    generators: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, network: nn.Module) -> "ModuleContents":
        """Find what the modules of a network hold, also modules in plain lists."""
        contents = cls()
        visited: set[int] = set()
        pending: list[tuple[Any, int]] = [(vars(network), 0)]
        while pending:
            container, depth = pending.pop()
            if id(container) in visited:
                continue
            visited.add(id(container))
            if not isinstance(container, tuple):
                contents.containers.append(container)
            values = container.values() if isinstance(container, dict) else container
            if len(values) > _LARGE and all(map(_is_constant, set(map(type, values)))):
                continue
            pending += contents._add(values, depth, visited)
        return contents

    def _add(
        self, values: Iterable[Any], depth: int, visited: set[int]
    ) -> Iterator[tuple[Any, int]]:
        """Add values to those of their kind; yields the containers to follow, with their depths."""
        # This loop is the larger part of the guard's time: a module has twenty attributes.
        for value in values:
            kind = _kinds.get(type(value)) or _find_kind(type(value))
            if kind == "constant":
                continue
            if kind == "container":
                if value:
                    yield value, depth
                else:
                    self.empty.append(value)
            elif kind == "tuple":
                if not all(map(_is_constant, map(type, value))):
                    yield value, depth
            elif kind == "module":
                yield vars(value), 0
            elif kind == "object":
                if depth < _OBJECT_DEPTH:
                    yield vars(value), depth + 1
            elif id(value) not in visited:
                visited.add(id(value))
                getattr(self, kind).append(value)


# The kind of each class: an attribute of ModuleContents for what is listed there; "container",
# "tuple", "module" or "object" for what is followed; "constant" for the rest.
_kinds: dict[type, str] = {}


def _find_kind(cls: type) -> str:
    if issubclass(cls, nn.Parameter):
        kind = "parameters"
    elif issubclass(cls, Tensor):
        kind = "tensors"
    elif issubclass(cls, nn.Module):
        kind = "module"
    elif issubclass(cls, tuple):
        kind = "tuple"
    elif issubclass(cls, (dict, list, set, deque)):
        kind = "container"
    elif issubclass(cls, (np.ndarray, bytearray)):
        kind = "arrays"
    elif issubclass(
        cls, (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
    ):
        kind = "generators"
    elif is_plain_object(cls):
        kind = "object"
    else:
        kind = "constant"
    _kinds[cls] = kind
    return kind


def _is_constant(cls: type) -> bool:
    return (_kinds.get(cls) or _find_kind(cls)) == "constant"


def is_plain_object(cls: type) -> bool:
    """Whether objects of a class are namespaces, or of a user's class, with attributes to follow.

    They keep their attributes in a dictionary.
    """
    if issubclass(cls, (SimpleNamespace, Namespace)):
        return True
    return (
        cls.__module__.partition(".")[0] not in _LIBRARIES
        and not issubclass(cls, type)
        and bool(cls.__dictoffset__)
    )
