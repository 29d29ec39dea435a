"""Old names of tensors, which timm and torchvision translate when they load published weights.

timm's filters also resample position embeddings for another size of the images.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

# As torchvision's densenet.py: dense layers were once named norm.1, and now norm1.
_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$"
)


def rename_old_keys(network: nn.Module, state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The state dicts that a network's library makes of one with old names.

    Args:
        network: a network of any library.
        state: tensors by name; not changed.

    Yields:
        State dicts with other keys; none for a network that is not from timm or torchvision.
    """
    module = type(network).__module__
    if module.startswith("timm.models."):
        yield from _timm_filters(network, state)
    elif module == "torchvision.models.densenet":
        renamed = {_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}
        if renamed.keys() != state.keys():
            yield renamed


def _timm_filters(network: nn.Module, state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the checkpoint filters in the module of a timm network return."""
    functions = vars(sys.modules[type(network).__module__])
    for name, function in functions.items():
        if "filter" not in name or not inspect.isfunction(function):
            continue
        takes_network = "model" in inspect.signature(function).parameters
        try:
            result = function(dict(state), *([network] if takes_network else []))
        except Exception:  # a filter expects the weights of its own network
            continue
        if isinstance(result, dict) and not _is_unchanged(result, state):
            yield result


def _is_unchanged(state: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return state.keys() == other.keys() and all(state[key] is other[key] for key in state)
