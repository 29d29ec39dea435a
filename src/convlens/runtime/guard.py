"""The guard: a block after which a network is as it was before."""

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from convlens.runtime.exclusive import exclusive
from convlens.runtime.module_contents import ModuleContents
from convlens.runtime.module_list import list_modules
from convlens.runtime.module_state import ModuleState
from convlens.runtime.shared_context import SharedContext


@contextmanager
def preserve_network(network: nn.Module) -> Iterator[nn.Module]:
    """Run a block with a network in evaluation mode with frozen parameters, and restore it.

    Backward hooks, by which other libraries replace gradients, do not run in the block.

    Restored, also after an exception: the mode of each submodule; `requires_grad` and `.grad` of
    each parameter; all attributes of the modules, among them hooks, and what the tensors,
    dictionaries, lists and sets in them hold; and the random state of Python, numpy and torch (CPU
    and the GPU of the network). Parameters are neither copied nor converted.

    Another thread that guards a network with the same modules waits until the block has ended.
    Blocks in several threads restore the random state when the last of them ends.

    Args:
        network: any module.

    Yields:
        The module without the wrappers of compilation and data parallelism, so that hooks run.

    Example:
        >>> import torch
        >>> network = torch.nn.Dropout()
        >>> with preserve_network(network) as module:
        ...     module.training
        False
        >>> network.training
        True
    """
    network = unwrap_network(network)
    if _guarding_threads.get(network) == threading.get_ident():
        # An outer block guards the network, and may need what this block changes.
        yield network
        return
    modules = list_modules(network)
    with exclusive(modules):
        contents = ModuleContents.of(network)
        with (
            _restored_random_state(),
            _restored_gpu_random_state(contents),
            _without_compilation(),
            _without_global_backward_hooks(),
        ):
            state = ModuleState(contents)
            try:
                _guarding_threads[network] = threading.get_ident()
                for module in modules:
                    if module.training:
                        # Setting the attribute is slow, and networks have hundreds of modules.
                        module.training = False
                    for hooks in (module._backward_hooks, module._backward_pre_hooks):
                        if hooks:
                            hooks.clear()  # they replace gradients by others
                for parameter in contents.parameters:
                    if parameter.requires_grad and not parameter.is_inference():
                        parameter.requires_grad_(False)
                yield network
            finally:
                _guarding_threads.pop(network, None)
                state.restore()


class GuardedClone:
    """A clone of a network that is as it was before after every run.

    It belongs to one thread. Its mode and its frozen parameters never change, so that finding what
    its modules hold, which takes most of the time of `preserve_network`, is done once.

    Args:
        clone: from `clone_network`.
    """

    def __init__(self, clone: nn.Module) -> None:
        self._clone = clone
        self._contents = ModuleContents.of(clone)
        self._state = ModuleState(self._contents)

    @contextmanager
    def guard(self) -> Iterator[nn.Module]:
        """Run a block with the clone, and restore what `preserve_network` restores."""
        with (
            _restored_random_state(),
            _restored_gpu_random_state(self._contents),
            _without_compilation(),
            _without_global_backward_hooks(),
        ):
            try:
                yield self._clone
            finally:
                self._state.restore()


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


_guarding_threads: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


@SharedContext
@contextmanager
def _without_compilation() -> Iterator[None]:
    """Run compiled submodules as plain Python, with their hooks."""
    # Importing the compiler takes seconds; where nobody has imported it, nothing is compiled.
    if "torch._dynamo" in sys.modules:
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield


@SharedContext
@contextmanager
def _without_global_backward_hooks() -> Iterator[None]:
    """Run modules without the backward hooks that are registered for all of them."""
    registries = (torch_module._global_backward_hooks, torch_module._global_backward_pre_hooks)
    saved = [dict(hooks) for hooks in registries]
    for hooks in registries:
        hooks.clear()
    try:
        yield
    finally:
        for hooks, entries in zip(registries, saved, strict=True):
            hooks.update(entries)


@SharedContext
@contextmanager
def _restored_random_state() -> Iterator[None]:
    """Restore the random state of Python, numpy and torch on the CPU."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _restored_gpu_random_state(contents: ModuleContents) -> AbstractContextManager[None]:
    """Restore the random state of the GPU that holds the parameters, if one does."""
    devices = (p.device for p in contents.parameters if p.is_cuda)
    device = next(devices, None)
    return nullcontext() if device is None else _gpu_context(device)()


@cache
def _gpu_context(device: torch.device) -> SharedContext:
    @contextmanager
    def restored() -> Iterator[None]:
        state = torch.cuda.get_rng_state(device)
        try:
            yield
        finally:
            torch.cuda.set_rng_state(state, device)

    return SharedContext(restored)
