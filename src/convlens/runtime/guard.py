"""The guard: whatever is done with a network inside it, the network is left as it was."""

import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from operator import is_
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def untouched(network: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode and frozen parameters inside; everything as it was outside.

    Restored, also after an exception: the mode of each submodule, `requires_grad` and `.grad` of
    each parameter, which parameters and buffers there are and the buffers' values, the hooks, and
    the state of the random generators of Python, numpy and torch (CPU and the network's GPU).
    Parameters are neither copied nor converted.

    Yields:
        The bare module, which runs its hooks also where the network was compiled.
    """
    network = unwrap_network(network)
    if network in _guarded:
        # Guarded further out already, to whose end what is changed here may be needed.
        yield network
        return
    modules = [_ModuleState.of(module) for module in network.modules()]
    # Those made in inference mode record nothing, whatever they say, and let nothing be changed.
    held = (p for state in modules for p in state.parameters.values() if p is not None)
    parameters = [(p, p.requires_grad, p.grad) for p in dict.fromkeys(held) if not p.is_inference()]
    device = next((p.device for p, _, _ in parameters if p.device.type == "cuda"), None)
    with _random_state(device), _eagerly():
        try:
            _guarded.add(network)
            for state in modules:
                if state.training:  # setting it is slow, and a network has hundreds of modules
                    state.module.training = False
            for parameter, wanted, _ in parameters:
                if wanted:
                    parameter.requires_grad_(False)
            yield network
        finally:
            _guarded.discard(network)
            for state in modules:
                state.restore()
            for parameter, wanted, gradient in parameters:
                if parameter.requires_grad != wanted:
                    parameter.requires_grad_(wanted)
                if parameter.grad is not gradient:
                    parameter.grad = gradient


def unwrap_network(network: nn.Module) -> nn.Module:
    """The module that `torch.compile` or a data-parallel wrapper was put around, else itself.

    Compiled code runs no hooks of its submodules, so looking inside needs the module itself.
    """
    while True:
        inner = getattr(network, "_orig_mod", None)
        if inner is None and isinstance(
            network, (nn.DataParallel, nn.parallel.DistributedDataParallel)
        ):
            inner = network.module
        if inner is None:
            return network
        network = inner


_guarded: WeakSet[nn.Module] = WeakSet()

_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_backward_hooks",
    "_backward_pre_hooks",
)  # fmt: skip


@dataclass(eq=False)
class _ModuleState:
    module: nn.Module
    training: bool
    parameters: dict[str, Any]
    buffers: dict[str, Any]
    values: dict[str, Tensor]
    hooks: dict[str, dict[int, Any]]

    @classmethod
    def of(cls, module: nn.Module) -> "_ModuleState":
        buffers = dict(module._buffers)
        return cls(
            module=module,
            training=module.training,
            parameters=dict(module._parameters),
            buffers=buffers,
            values={
                name: buffer.detach().clone()
                for name, buffer in buffers.items()
                if buffer is not None
            },
            hooks={name: dict(hooks) for name in _HOOKS if (hooks := getattr(module, name))},
        )

    def restore(self) -> None:
        if self.module.training != self.training:
            self.module.training = self.training
        _put_back(self.module._parameters, self.parameters)
        _put_back(self.module._buffers, self.buffers)
        for name, value in self.values.items():
            buffer = self.buffers[name]
            # Only what differs is written: a graph may hold a buffer, and notices every write.
            if buffer.shape != value.shape:
                buffer.data = value
            elif not _same(buffer, value):
                with torch.inference_mode(mode=buffer.is_inference()), torch.no_grad():
                    buffer.copy_(value)
        for name in _HOOKS:
            now = getattr(self.module, name)
            if now or name in self.hooks:
                _put_back(now, self.hooks.get(name, {}))


def _put_back(now: dict[Any, Any], before: dict[Any, Any]) -> None:
    same = list(now) == list(before) and all(map(is_, now.values(), before.values()))
    if not same:
        now.clear()
        now.update(before)


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal, NaN to NaN; sparse tensors cannot be compared and count as changed."""
    if one.layout != torch.strided:
        return False
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _eagerly() -> AbstractContextManager[Any]:
    """Parts that were compiled by themselves run as written, hooks and all."""
    # Importing the compiler takes seconds: nothing is compiled where nobody has.
    if "torch._dynamo" in sys.modules:
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


@contextmanager
def _random_state(device: torch.device | None) -> Iterator[None]:
    plain, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device is not None else []):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(numpy_state)
