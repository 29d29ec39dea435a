"""The guard: a block after which a network is as it was before."""

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
    """Run a block with a network in evaluation mode with frozen parameters, and restore it.

    Restored, also after an exception: the mode of each submodule; `requires_grad` and `.grad` of
    each parameter; which parameters and buffers exist, and the values of buffers; hooks; and the
    random state of Python, numpy and torch (CPU and the GPU of the network). Parameters are neither
    copied nor converted.

    Args:
        network: any module.

    Yields:
        The module without the wrappers of compilation and data parallelism, so that hooks run.

    Example:
        >>> import torch
        >>> network = torch.nn.Dropout()
        >>> with untouched(network) as module:
        ...     module.training
        False
        >>> network.training
        True
    """
    network = unwrap_network(network)
    if network in _guarded:
        # An outer block guards the network, and may need what this block changes.
        yield network
        return
    modules = [_ModuleState.of(module) for module in network.modules()]
    # Parameters that were made in inference mode never record gradients and cannot be changed.
    existing = (p for state in modules for p in state.parameters.values() if p is not None)
    parameters = [
        (p, p.requires_grad, p.grad) for p in dict.fromkeys(existing) if not p.is_inference()
    ]
    device = next((p.device for p, _, _ in parameters if p.device.type == "cuda"), None)
    with _restored_random_state(device), _without_compilation():
        try:
            _guarded.add(network)
            for state in modules:
                if (
                    state.training
                ):  # setting the attribute is slow, and networks have hundreds of modules
                    state.module.training = False
            for parameter, requires_grad, _ in parameters:
                if requires_grad:
                    parameter.requires_grad_(False)
            yield network
        finally:
            _guarded.discard(network)
            for state in modules:
                state.restore()
            for parameter, requires_grad, gradient in parameters:
                if parameter.requires_grad != requires_grad:
                    parameter.requires_grad_(requires_grad)
                if parameter.grad is not gradient:
                    parameter.grad = gradient


def unwrap_network(network: nn.Module) -> nn.Module:
    """The module inside the wrappers of `torch.compile` and data parallelism.

    Compiled code does not run the hooks of submodules, so analyses use the module inside.

    Args:
        network: any module; without a wrapper it is returned as it is.
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
        _restore_dict(self.module._parameters, self.parameters)
        _restore_dict(self.module._buffers, self.buffers)
        for name, value in self.values.items():
            buffer = self.buffers[name]
            # Only changed buffers are written: an autograd graph detects writes to its buffers.
            if buffer.shape != value.shape:
                buffer.data = value
            elif not _equal(buffer, value):
                with torch.inference_mode(mode=buffer.is_inference()), torch.no_grad():
                    buffer.copy_(value)
        for name in _HOOKS:
            current = getattr(self.module, name)
            if current or name in self.hooks:
                _restore_dict(current, self.hooks.get(name, {}))


def _restore_dict(current: dict[Any, Any], saved: dict[Any, Any]) -> None:
    unchanged = list(current) == list(saved) and all(map(is_, current.values(), saved.values()))
    if not unchanged:
        current.clear()
        current.update(saved)


def _equal(tensor: Tensor, other: Tensor) -> bool:
    """Whether tensors are equal, NaN to NaN; sparse tensors, which cannot be compared, are not."""
    if tensor.layout != torch.strided:
        return False
    return torch.equal(tensor, other) or torch.allclose(
        tensor, other, rtol=0, atol=0, equal_nan=True
    )


def _without_compilation() -> AbstractContextManager[Any]:
    """Run compiled submodules as plain Python, with their hooks."""
    # Importing the compiler takes seconds; where nobody has imported it, nothing is compiled.
    if "torch._dynamo" in sys.modules:
        return torch.compiler.set_stance("force_eager")
    return nullcontext()


@contextmanager
def _restored_random_state(device: torch.device | None) -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device is not None else []):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
