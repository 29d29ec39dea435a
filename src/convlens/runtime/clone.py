"""A network's twin: a copy to run without a copy of the weights."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import CellType, FunctionType
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode


def clone_network(network: nn.Module, mode: FakeTensorMode | None = None) -> nn.Module:
    """A deep copy without a copy of the weights: fake ones, or the same memory.

    Buffers, and tensors that modules keep for themselves, are cloned where they are real, since
    running a network may change them. Hooks that are plain functions get copies of what they
    close over, so that nothing of the run is put where their owner looks.
    """
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        data = mode.from_tensor(parameter.detach()) if mode else parameter.detach()
        memo[id(parameter)] = nn.Parameter(data, requires_grad=False)
    kept = (value for module in network.modules() for value in vars(module).values())
    for tensor in (*network.buffers(), *(value for value in kept if isinstance(value, Tensor))):
        copied = mode.from_tensor(tensor.detach()) if mode else tensor.detach().clone()
        memo.setdefault(id(tensor), copied)
    clone = copy.deepcopy(network, memo)
    for module in clone.modules():
        module.training = False
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key, hook in hooks.items():
                if isinstance(hook, FunctionType):
                    hooks[key] = _apart(hook, memo)
    return clone


def _apart(hook: FunctionType, memo: dict[int, Any]) -> FunctionType:
    """The function with copies of what it closes over, and of the containers it finds by name."""
    named = {
        name: copy.deepcopy(value, memo)
        for name in hook.__code__.co_names
        if isinstance(value := hook.__globals__.get(name), (dict, list, set))
    }
    cells = [CellType(copy.deepcopy(cell.cell_contents, memo)) for cell in hook.__closure__ or ()]
    return FunctionType(
        hook.__code__,
        {**hook.__globals__, **named},
        hook.__name__,
        copy.deepcopy(hook.__defaults__, memo),
        tuple(cells) or None,
    )


@contextmanager
def silence_fake_tensor_log() -> Iterator[None]:
    """What fake tensors cannot do is expected inside, and no news for a user."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before
