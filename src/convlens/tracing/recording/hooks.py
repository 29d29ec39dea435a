"""Hooks that follow a network while it runs: module calls, and function calls inside them.

The recorder and `capture` both use them, so that a node name means the same node for both.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SETITEM = "setitem"  # the function of `x[...] = y`, which returns nothing


@dataclass(eq=False)
class ModuleCall:
    """One call of a module.

    Attributes:
        path: dotted name of the module; "" is the network itself.
        number: number of this call among those of the module, from 1.
        module: the module.
        functions: number of calls of each function so far in the module's own code, by name.
        inputs: the positional arguments of the call while it runs, afterwards empty.
    """

    path: str
    number: int
    module: nn.Module
    functions: Counter[str] = field(default_factory=Counter)
    inputs: tuple[Any, ...] = ()


class Listener:
    """Base class of listeners to a running network. Each method may replace what it receives."""

    def module_begins(
        self, call: ModuleCall, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Called before a module runs. Return None to leave its inputs as they are."""

    def module_ends(self, call: ModuleCall, output: Any) -> Any:
        """Called after a module has run. Return None to leave its output as it is."""

    def function_ends(self, call: ModuleCall, name: str, number: int, output: Any) -> Any:
        """Called after a function in the module's own code has run.

        Args:
            call: the innermost module call.
            name: plain name of the function, as `function_name` returns it.
            number: number of this call among those of the function in this module call, from 1.
            output: what the function returned; for `SETITEM` the tensor that was written, which
                the network's code keeps, so that it can be written again but not replaced.

        Returns:
            The output, or a replacement of it.
        """
        return output


@contextmanager
def attach_listener(
    network: nn.Module, listener: Listener, paths: Iterable[str] = ("",)
) -> Iterator[list[ModuleCall]]:
    """Call a listener for every module and function that runs inside the block.

    Functions are those of PyTorch's Python interface that a module's code calls. Each is one call,
    also if PyTorch executes it as several operations. Runs in other threads are not followed.
    Inside `torch.vmap` and other transforms, where tensors have no memory of their own, the
    listener is called for modules without their tensors, and not for functions.

    Args:
        network: the network; its hooks are removed at the end of the block.
        listener: what to call.
        paths: dotted names of the modules to follow, together with their submodules. All other
            modules run at full speed. Default: the whole network.

    Yields:
        The module calls that have begun and not ended, the innermost last.
    """
    # Code outside any module (a hook on the network, say) belongs to the network itself.
    stack: list[ModuleCall] = [ModuleCall("", 0, network)]
    runs: Counter[str] = Counter()
    thread = threading.get_ident()
    paths = set(paths)
    everywhere = "" in paths

    def before_module(path: str) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
            if threading.get_ident() != thread:
                return None
            runs[path] += 1
            call = ModuleCall(path, runs[path], module)
            if len(stack) == 1 and not everywhere:
                function_mode.enter_context(_FunctionMode(stack, listener))
            if _is_transforming():
                inputs, options = (), {}
            replacement = listener.module_begins(call, inputs, options)
            call.inputs = inputs
            stack.append(call)
            return replacement

        return hook

    def after_module(module: nn.Module, inputs: Any, output: Any) -> Any:
        if threading.get_ident() != thread:
            return None
        call = stack.pop()
        call.inputs = ()
        if len(stack) == 1 and not everywhere:
            function_mode.close()
        return listener.module_ends(call, None if _is_transforming() else output)

    with ExitStack() as hooks, ExitStack() as function_mode:
        for path, module in network.named_modules():
            if not everywhere and not any(f"{path}.".startswith(f"{root}.") for root in paths):
                continue
            handle = module.register_forward_pre_hook(
                before_module(path), prepend=True, with_kwargs=True
            )
            hooks.callback(handle.remove)
            hooks.callback(module.register_forward_hook(after_module).remove)
        if everywhere:
            hooks.enter_context(_FunctionMode(stack, listener))
        yield stack


def _is_transforming() -> bool:
    """Whether a transform of `torch.func`, such as `torch.vmap`, runs the code."""
    return torch._C._functorch.peek_interpreter_stack() is not None


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


def function_name(function: Callable[..., Any]) -> str:
    """The plain name of a function: `add` for `+`, `+=`, `torch.add` and `Tensor.add_`."""
    name = getattr(function, "__name__", type(function).__name__)
    if name.startswith("__") and name.endswith("__"):
        name = _OPERATORS.get(name[2:-2], name[2:-2])
    return name.strip("_") or name


_OPERATORS = {
    "iadd": "add", "radd": "add", "isub": "sub", "rsub": "sub", "imul": "mul", "rmul": "mul",
    "truediv": "div", "itruediv": "div", "rtruediv": "div", "rdiv": "div", "idiv": "div",
    "ipow": "pow", "rpow": "pow", "rmatmul": "matmul",
}  # fmt: skip


class _FunctionMode(TorchFunctionMode):
    """Calls the listener after each call of PyTorch's Python interface that returns tensors."""

    def __init__(self, stack: list[ModuleCall], listener: Listener) -> None:
        super().__init__()
        self._stack = stack
        self._listener = listener

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        returned = func(*args, **(kwargs or {}))
        if _is_transforming():
            return returned
        name = function_name(func)
        output = args[0] if name == SETITEM else returned
        if not isinstance(output, (Tensor, tuple, list)) or isinstance(output, torch.Size):
            return returned
        if not tensors_in(output):
            return returned
        call = self._stack[-1]
        call.functions[name] += 1
        replacement = self._listener.function_ends(call, name, call.functions[name], output)
        return returned if name == SETITEM else replacement
