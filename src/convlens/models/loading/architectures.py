"""The architecture of a weight file that is given without one.

What the file says itself is tried first, then its name, then the names and shapes of its tensors.
A guess counts only if all weights fit, so that a wrong one is never used.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convlens.errors import ConvlensError
from convlens.models.loading.class_names import walk_mappings
from convlens.models.loading.sources.timm_models import timm_architecture, timm_names
from convlens.models.loading.sources.torchvision_models import (
    count_torchvision_parameters,
    find_torchvision_file,
    torchvision_architecture,
    torchvision_names,
)
from convlens.models.loading.weights.classifier import find_resized_layers
from convlens.models.loading.weights.fitting import AUXILIARY
from convlens.models.loading.weights.state_dicts import candidates, find_state_dicts
from convlens.models.loading.weights.weight_files import WeightFile

# Names under which training scripts save the name of the network.
_ENTRIES = (
    "arch", "architecture", "model_name", "model", "backbone", "network", "net", "encoder", "name",
)  # fmt: skip
_MOST_GUESSES = 16  # by name
_LARGEST_CLASSIFIER = 4097 * 1000  # parameters that a file with fewer classes lacks at most
# What a file may lack: classifiers that only a training needs, and batch normalization's counter.
_AUXILIARY = tuple(f"{name}." for name in AUXILIARY)
_COUNTER = "num_batches_tracked"


def find_architecture(file: WeightFile) -> str:
    """The spec of the network that a weight file belongs to.

    Args:
        file: from `read_weight_file`.

    Returns:
        `torchvision:NAME`, `torchvision:NAME@WEIGHTS` for a file that torchvision offers for
        download, or `timm:NAME`. A classifier of another size counts as the same network.

    Raises:
        ConvlensError: no network of torchvision fits, and no network of timm that the file or its
            name mentions; or several networks of torchvision fit.
    """
    state_dicts = find_state_dicts(file.content)
    published = find_torchvision_file(file.path.name)
    if published is not None and _fits(published, state_dicts):
        return published
    named = list(dict.fromkeys((*_named_inside(file), *_named_by_path(file))))[:_MOST_GUESSES]
    for spec in named:
        if _fits(spec, state_dicts):
            return spec
    fitting = _fitting_by_tensors(state_dicts, named)
    if len(fitting) == 1:
        return fitting[0]
    example = f"{file.path}@{(fitting or named or ['torchvision:resnet50'])[0]}"
    if fitting:
        raise ConvlensError(
            f"{file.path} fits {' and '.join(fitting)}; name one of them, for example {example}"
        )
    raise ConvlensError(
        f"{file.path} fits no network of torchvision, so its architecture has to be named: "
        f"{example}, {file.path}@timm:NAME, or for a network of your own "
        f"{file.path}@python:FILE.py:FUNCTION"
    )


def _fitting_by_tensors(
    state_dicts: Sequence[tuple[str, Mapping[str, Any]]], tried: Sequence[str]
) -> list[str]:
    """The networks of torchvision that fit, of those with the number of weights nearest to a file.

    A smaller network may fit, too: all tensors of ResNet-18 are in the weights of ResNet-34.

    Args:
        state_dicts: from `find_state_dicts`.
        tried: specs that do not fit.
    """
    sizes = [
        sum(value.numel() for value in mapping.values() if isinstance(value, Tensor))
        for _, mapping in state_dicts
    ]
    if not sizes:
        return []
    counts = {name: count_torchvision_parameters(name) for name in torchvision_names()}
    fitting: list[str] = []
    for name in sorted(counts, key=lambda name: min(abs(counts[name] - size) for size in sizes)):
        spec = f"torchvision:{name}"
        if fitting and counts[name] != counts[fitting[0].partition(":")[2]]:
            continue
        if spec in tried or counts[name] > max(sizes) + _LARGEST_CLASSIFIER:
            continue
        if _fits(spec, state_dicts):
            fitting.append(spec)
    return fitting


def _named_inside(file: WeightFile) -> Iterator[str]:
    """Specs of networks whose names are saved beside the weights."""
    for mapping in walk_mappings((file.metadata, file.content)):
        for entry in _ENTRIES:
            name = mapping.get(entry)
            if isinstance(name, str):
                yield from _specs_of(name)


def _named_by_path(file: WeightFile) -> Iterator[str]:
    """Specs of networks whose names are a part of the file's name, the longest first."""
    words = re.split(r"[\W_]+", file.path.stem.casefold())
    joined = {
        "_".join(words[start:stop])
        for start in range(len(words))
        for stop in range(start + 1, len(words) + 1)
    }
    for name in sorted(joined, key=len, reverse=True):
        yield from _specs_of(name)


def _specs_of(name: str) -> Iterator[str]:
    """The specs that a name stands for: torchvision's network comes before timm's."""
    name = name.removeprefix("torchvision:").removeprefix("timm:")
    if name in torchvision_names():
        yield f"torchvision:{name}"
    if name.partition(".")[0] in timm_names():
        yield f"timm:{name.partition('.')[0]}"


def _fits(spec: str, state_dicts: Sequence[tuple[str, Mapping[str, Any]]]) -> bool:
    """Whether one of some state dicts has all tensors of a network, in their shapes.

    The network is built without memory for its weights.
    """
    form, _, name = spec.partition(":")
    build = torchvision_architecture if form == "torchvision" else timm_architecture
    with _ParametersWithoutMemory():
        network = build(name.partition("@")[0])
    return any(
        _has_all_tensors(network, candidate.state)
        for entry, mapping in state_dicts
        for candidate in candidates(entry, mapping, network)
    )


# What draws or fills the parameters of a layer: without memory they hold nothing.
_FILLING = (
    torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_,
)  # fmt: skip


class _ParametersWithoutMemory(TorchFunctionMode):
    """Puts what `torch.empty` makes on the meta device: the parameters of layers.

    Inside `torch.device("meta")` a network could not compute the widths of its layers by tensors.
    What initializes the parameters is left out, as it would take half of the time.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensor = args[0] if args else kwargs.get("tensor")
        fills = func in _FILLING or getattr(func, "__module__", None) == nn.init.__name__
        if fills and isinstance(tensor, Tensor) and tensor.is_meta:
            return tensor
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _has_all_tensors(network: nn.Module, state: Mapping[str, Any]) -> bool:
    expected = {
        key: value
        for key, value in network.state_dict().items()
        if not key.startswith(_AUXILIARY) and not key.endswith(_COUNTER)
    }
    if not all(isinstance(state.get(key), Tensor) for key in expected):
        return False
    same = all(state[key].shape == value.shape for key, value in expected.items())
    return same or bool(find_resized_layers(network, state))
