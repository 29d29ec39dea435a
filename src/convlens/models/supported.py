"""Refuses networks that cannot be analyzed, each with its reason."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convlens.errors import ConvlensError
from convlens.runtime.module_list import list_modules

_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse")

# They compute with floats, in networks that are prepared for quantization.
_FLOATING = ("FloatFunctional", "FXFloatFunctional")

_INITIALIZED = (nn.Parameter, Tensor)  # types of tensors that have values
_supported: set[type] = set()  # classes of modules that were found to be supported


def check_supported(network: nn.Module) -> None:
    """Check that the layers of a network can be traced and have values.

    Args:
        network: any module.

    Raises:
        ConvlensError: layers whose parameters are created at the first run, that are compiled by
            TorchScript or quantized, or tensors without values.
    """
    for module in list_modules(network):
        _check_module(network, module)
        _check_tensors(network, module)


def check_initialized(network: nn.Module) -> None:
    """Check that all parameters of a network exist.

    Raises:
        ConvlensError: a parameter that is created at the first run.
    """
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor):
            _refuse_lazy(name)


def _check_module(network: nn.Module, module: nn.Module) -> None:
    kind = type(module)
    if kind in _supported:
        return
    name = _name(network, module) or type(network).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise ConvlensError(
            f"{name} is compiled by TorchScript and has no layers that can be traced; "
            f"give the module that it was compiled from"
        )
    if kind.__module__.startswith(_QUANTIZED) and kind.__name__ not in _FLOATING:
        _refuse_quantized(name, "layer")
    _supported.add(kind)


def _check_tensors(network: nn.Module, module: nn.Module) -> None:
    for tensors in (module._parameters, module._buffers):
        for leaf, tensor in tensors.items():
            if tensor is None:
                continue
            if type(tensor) not in _INITIALIZED and is_lazy(tensor):
                _refuse_lazy(_path(network, module, leaf))
            if tensor.is_meta:
                raise ConvlensError(
                    f"{_path(network, module, leaf)} is on the meta device and has no values; load "
                    f"the weights first"
                )
            if tensor.is_quantized:
                _refuse_quantized(_path(network, module, leaf), "tensor")


def _name(network: nn.Module, module: nn.Module) -> str:
    """The dotted name of a module; only errors state it."""
    return next(name for name, other in network.named_modules() if other is module)


def _path(network: nn.Module, module: nn.Module, leaf: str) -> str:
    """The dotted name of a tensor of a module."""
    return ".".join(filter(None, (_name(network, module), leaf)))


def _refuse_lazy(name: str) -> None:
    raise ConvlensError(
        f"{name} is created at the first run of the network; run it once, as in "
        f"network(torch.zeros(1, 3, height, width))"
    )


def _refuse_quantized(name: str, kind: str) -> None:
    raise ConvlensError(
        f"{name} is a quantized {kind}, whose operations can neither be traced nor differentiated; "
        f"give the network from before its quantization"
    )
