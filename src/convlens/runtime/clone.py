"""Clones of networks that share their weights."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import CellType, FunctionType
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from convlens.errors import ConvlensError, first_line
from convlens.runtime.module_contents import ModuleContents
from convlens.runtime.rebinding import rebind
from convlens.runtime.shared_context import SharedContext

# The attributes that every module has: its mode, and the dictionaries of its tensors and hooks.
_COMMON_ATTRIBUTES = frozenset(vars(nn.Module()))


def clone_network(network: nn.Module, mode: FakeTensorMode | None = None) -> nn.Module:
    """A deep copy of a network without a copy of its weights.

    Buffers and other tensors that modules hold are copied, since running a network may change them.
    What cannot be copied, such as locks and open files, is shared. Hooks that are plain functions
    get copies of their closures and of the containers that they use, so that running the clone does
    not add to what the author's hooks collect. Functions among the attributes of modules, such
    as another `forward`, refer to the clone's parts.

    Args:
        network: left untouched.
        mode: make all tensors fake tensors of this mode; default: real tensors, parameters in the
            memory of the originals.

    Returns:
        The clone, in evaluation mode, with parameters that do not require gradients.

    Raises:
        ConvlensError: the network cannot be copied.
    """
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        data = parameter.detach()
        memo[id(parameter)] = (
            _fake_parameter(data, mode) if mode else nn.Parameter(data, requires_grad=False)
        )
    for tensor in ModuleContents.of(network).tensors:
        copied = mode.from_tensor(tensor.detach()) if mode else tensor.detach().clone()
        memo.setdefault(id(tensor), copied)
    clone = _copy_modules(network, memo)
    for module in clone.modules():
        module.training = False
        attributes = vars(module)
        for name in attributes.keys() - _COMMON_ATTRIBUTES:
            attributes[name] = rebind(attributes[name], memo)
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in hooks.items():
                if isinstance(hook, FunctionType):
                    hooks[key] = _clone_hook(hook, memo)
    return clone


def _fake_parameter(data: Tensor, mode: FakeTensorMode) -> Tensor:
    """A fake parameter that does not require gradients."""
    fake = mode.from_tensor(data)
    # The mark by which `nn.Parameter` knows its own. Its constructor would make a second fake
    # tensor, which takes as long as the first one.
    fake._is_param = True
    return fake


def _copy_modules(network: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A deep copy of a network; it shares what cannot be copied, such as locks and open files.

    Raises:
        ConvlensError: something else cannot be copied.
    """
    tensors = dict(memo)
    try:
        return copy.deepcopy(network, memo)
    except Exception:  # the objects decide what they raise
        memo.clear()
        memo.update(tensors)
    for container in ModuleContents.of(network).containers:
        for value in list(container.values() if isinstance(container, dict) else container):
            if not isinstance(value, (nn.Module, dict, list, set, tuple)):
                try:
                    copy.deepcopy(value, dict(memo))
                except Exception:
                    memo[id(value)] = value
    try:
        return copy.deepcopy(network, memo)
    except Exception as error:
        raise ConvlensError(
            f"{type(network).__name__} cannot be copied, which every analysis needs to do: "
            f"{first_line(error)}"
        ) from error


def _clone_hook(hook: FunctionType, memo: dict[int, Any]) -> FunctionType:
    """A hook with copies of its closure and of the global containers that it names."""
    containers = {
        name: _copy_or_share(value, memo)
        for name in hook.__code__.co_names
        if isinstance(value := hook.__globals__.get(name), (dict, list, set))
    }
    cells = [CellType(_copy_or_share(cell.cell_contents, memo)) for cell in hook.__closure__ or ()]
    return FunctionType(
        hook.__code__,
        {**hook.__globals__, **containers},
        hook.__name__,
        _copy_or_share(hook.__defaults__, memo),
        tuple(cells) or None,
    )


def _copy_or_share(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy, or the value itself if it cannot be copied, such as an open file."""
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # the objects decide what they raise
        return value


@SharedContext
@contextmanager
def silence_fake_tensor_log() -> Iterator[None]:
    """Disable the log of fake tensors inside the block, where their failures are expected."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    previous = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = previous
