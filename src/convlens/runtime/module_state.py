"""The state of a network's modules, saved and restored.

A network may rebind attributes of its modules while it runs (counters, caches, weights that a hook
computes), and write into the tensors, lists, dictionaries and sets that they hold.
"""

import random
from collections.abc import Iterable
from itertools import chain, islice
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convlens.runtime.module_contents import ModuleContents


class ModuleState:
    """What the modules of a network hold, as it is now.

    Of each parameter it saves the memory that holds its values, whether it requires gradients, and
    its gradient. The values themselves are neither copied nor converted.

    Args:
        contents: what the modules hold.
    """

    def __init__(self, contents: ModuleContents) -> None:
        plain = [container for container in contents.containers if type(container) is dict]
        self._dictionaries = _PlainDictionaries(plain)
        self._containers = [
            (container, _copy(container))
            for container in contents.containers
            if type(container) is not dict
        ]
        self._empty = contents.empty
        small = [tensor for tensor in contents.tensors if _is_small(tensor)]
        self._small = [_SmallTensors(tensors) for tensors in _by_type(small)]
        small_ids = {id(tensor) for tensor in small}
        self._tensors = [
            (tensor, tensor.detach().clone())
            for tensor in contents.tensors
            if id(tensor) not in small_ids
        ]
        self._arrays = [(array, array.copy()) for array in contents.arrays]
        self._generators = [
            (generator, _random_state(generator)) for generator in contents.generators
        ]
        # Parameters that were made in inference mode never record gradients and cannot be changed.
        self._parameters = [
            (parameter, parameter.data, parameter.requires_grad, parameter.grad)
            for parameter in contents.parameters
            if not parameter.is_inference()
        ]

    def restore(self) -> None:
        """Make the modules hold what they held, with the values that it had."""
        if any(self._empty):
            for container in self._empty:
                container.clear()
        self._dictionaries.restore()
        for container, copy in self._containers:
            _restore_container(container, copy)
        for tensors in self._small:
            tensors.restore()
        for tensor, value in self._tensors:
            _restore_tensor(tensor, value)
        for array, value in self._arrays:
            if isinstance(array, bytearray):
                array[:] = value
            elif array.flags.writeable:
                np.copyto(array, value)
        for generator, state in self._generators:
            _set_random_state(generator, state)
        for parameter, data, requires_grad, gradient in self._parameters:
            _restore_parameter(parameter, data, gradient, requires_grad=requires_grad)


class _PlainDictionaries:
    """Dictionaries, saved and compared as one list of keys and one of values.

    A network has hundreds of them, one for the attributes of each module, and most do not change.
    """

    def __init__(self, dictionaries: list[dict[Any, Any]]) -> None:
        self._dictionaries = dictionaries
        self._lengths = list(map(len, dictionaries))
        self._keys = list(chain.from_iterable(dictionaries))
        self._values = list(chain.from_iterable(map(dict.values, dictionaries)))

    def restore(self) -> None:
        """Put the saved items into the dictionaries that have changed."""
        if self._are_unchanged():
            return
        items = zip(self._keys, self._values, strict=True)
        for dictionary, length in zip(self._dictionaries, self._lengths, strict=True):
            _restore_container(dictionary, dict(islice(items, length)))

    def _are_unchanged(self) -> bool:
        values = chain.from_iterable(map(dict.values, self._dictionaries))
        return (
            self._lengths == list(map(len, self._dictionaries))
            # Keys may be tensors, which `==` compares element by element.
            and all(map(is_, chain.from_iterable(self._dictionaries), self._keys))
            and all(map(is_, values, self._values))
        )


class _SmallTensors:
    """Small tensors of one type, saved and compared as one tensor.

    A network has hundreds of them, such as the statistics of batch normalization. One comparison
    replaces as many calls of torch, and on a GPU as many waits for it.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = tensors
        self._shapes = [tensor.shape for tensor in tensors]
        self._values = _join(tensors)

    def restore(self) -> None:
        """Write the saved values into the tensors that have changed."""
        unchanged = all(map(_has_shape, self._tensors, self._shapes))
        if unchanged and torch.equal(_join(self._tensors), self._values):
            return
        parts = self._values.split([shape.numel() for shape in self._shapes])
        for tensor, shape, part in zip(self._tensors, self._shapes, parts, strict=True):
            _restore_tensor(tensor, part.view(shape))


_SMALL = 16_384  # elements


def _is_small(tensor: Tensor) -> bool:
    return (
        type(tensor) is Tensor
        and tensor.numel() <= _SMALL
        and tensor.layout is torch.strided
        and not (tensor.is_meta or tensor.is_quantized)
    )


def _by_type(tensors: list[Tensor]) -> Iterable[list[Tensor]]:
    groups: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return groups.values()


def _join(tensors: list[Tensor]) -> Tensor:
    """The elements of tensors one after the other, in memory of their own."""
    with torch.no_grad():
        return torch.cat([tensor if tensor.ndim == 1 else tensor.reshape(-1) for tensor in tensors])


def _has_shape(tensor: Tensor, shape: torch.Size) -> bool:
    return tensor.shape == shape


def _restore_parameter(
    parameter: nn.Parameter, data: Tensor, gradient: Tensor | None, *, requires_grad: bool
) -> None:
    if parameter.layout is torch.strided and not parameter.is_set_to(data):
        parameter.data = data
    if parameter.requires_grad != requires_grad:
        parameter.requires_grad_(requires_grad)
    if parameter.grad is not gradient:
        parameter.grad = gradient


def _copy(container: Any) -> Any:
    """A plain copy of a dictionary, list, set or deque, with the same items."""
    if isinstance(container, dict):
        return dict(container)
    return set(container) if isinstance(container, set) else list(container)


def _restore_container(container: Any, copy: Any) -> None:
    """Put the items of a copy into a container if they are not in it, in the same order."""
    if isinstance(container, dict):
        if not _same_items(container, copy):
            container.clear()
        if not _same_items(container.values(), copy.values()):
            for key, value in copy.items():
                container[key] = value  # a Counter's update() adds
    elif isinstance(container, set):
        if container != copy:
            container.clear()
            container.update(copy)
    elif not _same_items(container, copy):
        container.clear()
        container.extend(copy)


def _same_items(items: Any, saved: Any) -> bool:
    return len(items) == len(saved) and all(map(is_, items, saved))


def _restore_tensor(tensor: Tensor, value: Tensor) -> None:
    # Only changed tensors are written: an autograd graph detects writes to its tensors.
    if tensor.shape != value.shape:
        tensor.data = value
    elif not _equal(tensor, value):
        with torch.inference_mode(mode=tensor.is_inference()), torch.no_grad():
            tensor.copy_(value)


def _equal(tensor: Tensor, other: Tensor) -> bool:
    """Whether tensors are equal, NaN to NaN; sparse tensors, which cannot be compared, are not."""
    if tensor.is_meta:
        return True
    if tensor.layout != torch.strided:
        return False
    return torch.equal(tensor, other) or torch.allclose(
        tensor, other, rtol=0, atol=0, equal_nan=True
    )


def _random_state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state()  # of torch, or an older one of numpy


def _set_random_state(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)
