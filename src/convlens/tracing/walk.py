"""Hooks that follow a network while it runs: module, number of the run, operation.

The recorder and the capture both use them, so that a node name means the same node for both.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(eq=False)
class Call:
    """One run of one module: `number` counts the runs of the module at `path` from 1.

    `inputs` are what it was given, as long as it runs.
    """

    path: str
    number: int
    module: nn.Module
    operations: Counter[str] = field(default_factory=Counter)
    inputs: tuple[Any, ...] = ()


class Listener:
    """What a walk tells. Each method may hand on something else than it was given."""

    def entered(self, call: Call, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A module is about to run. None leaves its inputs as they are."""

    def left(self, call: Call, output: Any) -> Any:
        """A module has run. None leaves its output as it is."""

    def operated(self, call: Call, name: str, number: int, output: Any) -> Any:
        """An operation in the module's own code gave `output`; return it, or another."""
        return output


@contextmanager
def walk(
    network: nn.Module, listener: Listener, within: Iterable[str] = ("",)
) -> Iterator[list[Call]]:
    """While the block lasts, tell `listener` of every module and operation that runs.

    `within` names the modules to follow, with what they hold; the others run unwatched and at
    their full speed.

    Operations are those of torch's Python interface: what a module's code calls, whole, even
    where it is carried out as several smaller ones.

    Yields:
        The runs that have begun and not ended, the innermost last.
    """
    # Code outside any module (a hook on the network, say) belongs to the network itself.
    stack: list[Call] = [Call("", 0, network)]
    runs: Counter[str] = Counter()
    paths = set(within)
    everywhere = "" in paths

    def enter(path: str) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
            runs[path] += 1
            call = Call(path, runs[path], module)
            if len(stack) == 1 and not everywhere:
                inside.enter_context(_Operations(stack, listener))
            handed = listener.entered(call, inputs, options)
            call.inputs = inputs
            stack.append(call)
            return handed

        return hook

    def leave(module: nn.Module, inputs: Any, output: Any) -> Any:
        call = stack.pop()
        call.inputs = ()
        if len(stack) == 1 and not everywhere:
            inside.close()
        return listener.left(call, output)

    with ExitStack() as undo, ExitStack() as inside:
        for path, module in network.named_modules():
            if not everywhere and not any(f"{path}.".startswith(f"{one}.") for one in paths):
                continue
            before = module.register_forward_pre_hook(enter(path), prepend=True, with_kwargs=True)
            undo.callback(before.remove)
            undo.callback(module.register_forward_hook(leave).remove)
        if everywhere:
            undo.enter_context(_Operations(stack, listener))
        yield stack


def tensors_in(output: Any) -> list[Tensor]:
    """The tensors in a value as networks return them: tensor, sequence, mapping or object."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return [tensor for value in output.values() for tensor in tensors_in(value)]
    if isinstance(output, (tuple, list)):
        return [tensor for value in output for tensor in tensors_in(value)]
    if hasattr(output, "__dict__") and not isinstance(output, (type, nn.Module)):
        return [value for value in vars(output).values() if isinstance(value, Tensor)]
    return []


def operation_name(function: Callable[..., Any]) -> str:
    """The plain name of a function of torch: `add` for `+`, `+=`, `torch.add` and `Tensor.add_`."""
    name = getattr(function, "__name__", type(function).__name__)
    if name.startswith("__") and name.endswith("__"):
        name = _OPERATORS.get(name[2:-2], name[2:-2])
    return name.strip("_") or name


_OPERATORS = {
    "iadd": "add", "radd": "add", "isub": "sub", "rsub": "sub", "imul": "mul", "rmul": "mul",
    "truediv": "div", "itruediv": "div", "rtruediv": "div", "rdiv": "div", "idiv": "div",
    "ipow": "pow", "rpow": "pow", "rmatmul": "matmul",
}  # fmt: skip


class _Operations(TorchFunctionMode):
    """Counts the calls of torch's Python interface that give tensors, module run by module run."""

    def __init__(self, stack: list[Call], listener: Listener) -> None:
        super().__init__()
        self._stack = stack
        self._listener = listener

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not isinstance(output, (Tensor, tuple, list)) or isinstance(output, torch.Size):
            return output
        if not tensors_in(output):
            return output
        call = self._stack[-1]
        name = operation_name(func)
        call.operations[name] += 1
        return self._listener.operated(call, name, call.operations[name], output)
