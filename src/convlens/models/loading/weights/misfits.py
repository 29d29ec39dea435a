"""Why weights do not fit a network, in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn, strided
from torch.nn.parameter import is_lazy

from convlens.models.loading.weights.state_dicts import Candidate
from convlens.models.loading.weights.weight_files import WeightFile

_LONGEST_NAME = 100  # characters of a key in a message
_MOST_NAMED = 3  # keys of each kind in a message


def describe_misfit(
    network: nn.Module, candidate: Candidate, problem: str, file: WeightFile
) -> str:
    """Why no weights of a file fit.

    Args:
        network: the network.
        candidate: the weights of the file that have most of the network's keys.
        problem: why these do not fit.
        file: the file.
    """
    state, expected = candidate.state, network.state_dict()
    shapes = [
        f"{key} is {tuple(state[key].shape)}, wanted {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if isinstance(tensor, Tensor) and not is_lazy(tensor)
        and isinstance(state.get(key), Tensor) and state[key].shape != tensor.shape
    ]  # fmt: skip
    if shapes:  # torch reports either shapes or keys
        problems = [
            count_keys("missing", _missing(expected, state)),
            count_keys("unexpected", [key for key in state if key not in expected]),
            count_keys("of another shape", shapes),
        ]
    else:
        problems = [problem]
    where = f" (its {candidate.name})" if candidate.entry else ""
    return (
        f"{file.path} does not fit the architecture: {'; '.join(filter(None, problems))}{where}; "
        f"name the architecture that the weights were trained with "
        f"(python:MODULE:FACTORY for one of your own)"
    )


def describe_unusable_tensor(network: nn.Module, state: Mapping[str, Any]) -> str:
    """The first tensor that torch would not copy, or would change; empty if there is none."""
    expected = network.state_dict()
    for key, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        kind = _uncopyable(tensor)
        target = expected.get(key)
        if not kind and isinstance(target, Tensor) and not is_lazy(target):
            if tensor.is_complex() and not target.is_complex():
                kind = "complex, the network's is real"
            elif not _is_fractional(tensor) and _is_fractional(target) and tensor.numel() > 1:
                kind = f"{_type_name(tensor)}, the network's is {_type_name(target)}"
        if kind:
            return f"{key} is {kind}; save dense tensors of floating-point numbers"
    return ""


def describe_content(file: WeightFile) -> str:
    """What a file without weights holds."""
    if not isinstance(file.content, Mapping):
        kind = type(file.content).__name__
        return f"{file.path} holds a {kind}; a mapping of names to tensors is needed"
    keys = list_some([str(key) for key in file.content]) or "none"
    return f"{file.path} holds no tensors by name (keys: {keys}); save network.state_dict()"


def count_keys(kind: str, keys: Sequence[str]) -> str:
    """The number of keys of a kind and the first of them; empty if there are none."""
    return f"{len(keys)} {kind} ({list_some(keys)})" if keys else ""


def list_some(names: Sequence[str]) -> str:
    """The first names of a list, cut to a length that a message can hold."""
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in names]
    return ", ".join(shown[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def _missing(expected: Iterable[str], state: Mapping[str, Any]) -> list[str]:
    return [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]


def _uncopyable(tensor: Tensor) -> str:
    """Why the values of a tensor cannot be copied; empty if they can."""
    if tensor.is_meta:
        return "on the meta device and has no values"
    if tensor.is_quantized:
        return "quantized"
    if tensor.is_nested:
        return "nested"
    return "" if tensor.layout == strided else "sparse"


def _is_fractional(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
