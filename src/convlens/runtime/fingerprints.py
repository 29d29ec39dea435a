"""Fingerprints: hashes by which a resumed pass, or the disk cache, sees that anything has changed.

They hash plain values (numbers, text, lists, dictionaries), never the `repr` of a class. So they
do not change when a class is renamed, and they do change when a value does.
"""

import dataclasses
import enum
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import PurePath
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

_DIGITS = 16

_Weights = list[tuple[str, Tensor]]


@dataclasses.dataclass(frozen=True, eq=False)
class _HashedWeights:
    """The hash of a network's tensors by name, and the versions in which they were hashed."""

    weights: _Weights
    versions: list[Any]
    hash: str

    def describes(self, weights: _Weights, versions: list[Any]) -> bool:
        """Whether these are the same tensors under the same names, in the same versions."""
        return (
            self.versions == versions
            and len(self.weights) == len(weights)
            and all(
                name == other and tensor is other_tensor
                for (name, tensor), (other, other_tensor) in zip(self.weights, weights, strict=True)
            )
        )


_known_hashes: ContextVar[WeakKeyDictionary[nn.Module, _HashedWeights] | None] = ContextVar(
    "fingerprints of weights", default=None
)


def to_plain(value: Any) -> Any:  # noqa: PLR0911 # one return for each type
    """A value as what JSON can hold, without the names of classes.

    Dataclasses and mappings become dictionaries, sequences lists, sets sorted lists, enumerations
    their values, paths text, data types and devices of torch their names, and tensors and arrays a
    dictionary of shape, data type and hash.

    Raises:
        TypeError: if the value is of another type, such as a function.

    Example:
        >>> to_plain({"size": (224, 320), "channels": {3, 1}})
        {'size': [224, 320], 'channels': [1, 3]}
    """
    match value:
        case enum.Enum():
            return to_plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            return _describe_array(value.detach().cpu().contiguous())
        case np.ndarray():
            return _describe_array(torch.from_numpy(np.ascontiguousarray(value)))
        case np.generic():
            return value.item()
        case PurePath() | torch.dtype() | torch.device() | torch.layout() | torch.memory_format():
            return str(value)
        case Mapping():
            if all(isinstance(key, str) for key in value):
                return {key: to_plain(item) for key, item in value.items()}
            return sorted(([to_plain(key), to_plain(item)] for key, item in value.items()), key=str)
        case Set():
            return sorted((to_plain(item) for item in value), key=str)
        case Sequence():
            return [to_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: to_plain(getattr(value, field.name)) for field in fields}
    raise TypeError(f"{type(value).__name__} is no plain value")


def fingerprint(value: Any) -> dict[str, str]:
    """A short stand-in for a large setting, such as the labels of a million photos.

    Raises:
        TypeError: as `to_plain`.

    Returns:
        `{"sha256": ...}`.
    """
    text = json.dumps(to_plain(value), sort_keys=True)
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}


def fingerprint_weights(network: nn.Module) -> str:
    """A hash of all parameters and buffers, also of buffers that the author does not save.

    The strides of a tensor count, too: PyTorch chooses algorithms by them, which differ in the last
    bits.
    """
    weights = [*network.named_parameters(), *network.named_buffers()]
    known_hashes = _known_hashes.get()
    # Tensors that were made in inference mode have no versions.
    if known_hashes is None or any(tensor.is_inference() for _, tensor in weights):
        return _hash_weights(weights)
    versions = [_version(tensor) for _, tensor in weights]
    hashed = known_hashes.get(network)
    if hashed is None or not hashed.describes(weights, versions):
        hashed = known_hashes[network] = _HashedWeights(weights, versions, _hash_weights(weights))
    return hashed.hash


@contextmanager
def keep_weight_fingerprints() -> Iterator[None]:
    """Hash the weights of each network once inside the block, as long as PyTorch writes none.

    The versions that PyTorch counts do not tell what is written through `Tensor.data` or numpy, so
    the weights must not change in such a way inside the block.
    """
    outer = _known_hashes.get()
    token = _known_hashes.set(WeakKeyDictionary() if outer is None else outer)
    try:
        yield
    finally:
        _known_hashes.reset(token)


def _version(tensor: Tensor) -> Any:
    """What changes whenever PyTorch writes a tensor or gives it other memory."""
    layout = (tensor.dtype, tensor.shape, tensor.stride())
    return tensor._version, tensor.data_ptr(), layout


def _hash_weights(weights: _Weights) -> str:
    digest = hashlib.sha256()
    for name, tensor in weights:
        shape, stride = tuple(tensor.shape), tensor.stride()
        digest.update(f"{name} {tensor.dtype} {shape} {stride}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_DIGITS]


def _describe_array(tensor: Tensor) -> dict[str, Any]:
    data = tensor.flatten().view(torch.uint8).numpy().data
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "sha256": hashlib.sha256(data).hexdigest()[:_DIGITS],
    }
