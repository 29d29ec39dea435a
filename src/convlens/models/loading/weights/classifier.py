"""Classifiers of another size: the layers whose outputs are the classes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_LAYERS = (nn.Linear, nn.Conv2d)


def find_resized_layers(network: nn.Module, state: Mapping[str, Any]) -> dict[str, int]:
    """The layers of a classifier that has another number of outputs in a state dict.

    Args:
        network: the network.
        state: tensors by the network's keys.

    Returns:
        New number of outputs by the name of the layer; empty if nothing else than the outputs of
        such layers differs in shape, or if they differ in several ways.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 1000))
        >>> find_resized_layers(network, {"2.weight": torch.zeros(5, 8), "2.bias": torch.zeros(5)})
        {'2': 5}
    """
    resized: dict[str, tuple[int, int]] = {}
    for key, tensor in network.state_dict().items():
        value = state.get(key)
        if not isinstance(value, Tensor) or not isinstance(tensor, Tensor) or is_lazy(tensor):
            continue
        if value.shape == tensor.shape:
            continue
        name, _, leaf = key.rpartition(".")
        layer = network.get_submodule(name)
        is_layer = isinstance(layer, _LAYERS) and leaf in ("weight", "bias")
        same_inputs = value.ndim == tensor.ndim and value.shape[1:] == tensor.shape[1:]
        if not is_layer or not same_inputs or value.shape[0] == 0:
            return {}
        sizes = (tensor.shape[0], value.shape[0])
        if resized.setdefault(name, sizes) != sizes:
            return {}
    layers = [name for name, layer in network.named_modules() if isinstance(layer, _LAYERS)]
    # Auxiliary classifiers have the same classes, and the last layer is a classifier.
    if len(set(resized.values())) != 1 or layers[-1] not in resized:
        return {}
    return {name: new for name, (_, new) in resized.items()}


def count_outputs(network: nn.Module) -> int | None:
    """Number of outputs of the last layer; None for a network without such layers."""
    layers = [layer for layer in network.modules() if isinstance(layer, _LAYERS)]
    if not layers:
        return None
    last = layers[-1]
    return last.out_features if isinstance(last, nn.Linear) else last.out_channels


def resize_layers(network: nn.Module, sizes: Mapping[str, int]) -> None:
    """Give layers another number of outputs, with weights that are not set yet.

    Args:
        network: changed in place.
        sizes: number of outputs by the name of the layer.
    """
    for name, size in sizes.items():
        layer = network.get_submodule(name)
        for leaf in ("weight", "bias"):
            old = getattr(layer, leaf)
            if old is not None:
                new = torch.zeros(size, *old.shape[1:], dtype=old.dtype, device=old.device)
                setattr(layer, leaf, nn.Parameter(new, requires_grad=old.requires_grad))
        setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", size)
