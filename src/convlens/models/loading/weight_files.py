"""Weight files: read without running code in them, and checked against the network."""

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from convlens.errors import ConvlensError, describe_error

_NESTINGS = ("state_dict", "model", "model_state_dict", "model_ema")
_PREFIXES = ("module.", "_orig_mod.")  # of nn.DataParallel and torch.compile
_MOST_NAMED = 3  # keys of each kind in an error message


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file to the CPU.

    Args:
        path: a `.safetensors` file, or a file that `torch.save` wrote: a state dict, also inside a
            mapping under `state_dict`, `model`, `model_state_dict` or `model_ema`.

    Returns:
        Tensors by name.

    Raises:
        ConvlensError: a file that does not exist, is empty or damaged or holds no weights, or a
            pickle that would run code, which is not done.
    """
    if path.is_dir():
        raise ConvlensError(f"{path} is a folder; give the file with the weights in it")
    if not path.exists():
        raise ConvlensError(f"there is no file {path}")
    safetensors = path.suffix == ".safetensors"
    try:
        if path.stat().st_size == 0:
            raise ConvlensError(f"{path} is empty; copy it again")
        content = _read_safetensors(path) if safetensors else _read_pickle(path)
    except OSError as error:
        raise ConvlensError(f"{path} cannot be read ({describe_error(error)})") from error
    return _state_inside(content, path)


def load_weights(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors into a network, all or none.

    The prefixes that data-parallel and compiled networks put before their keys are removed.

    Args:
        network: changed in place.
        state: tensors by name, from `read_state_dict`.
        path: path of the file, for error messages.

    Raises:
        ConvlensError: missing or unexpected keys, or other shapes.
    """
    expected = network.state_dict()
    state = {_strip_prefixes(key, expected): tensor for key, tensor in state.items()}
    # Batch norm's step counter came with PyTorch 0.4.1 and is not used outside training.
    missing = [
        key for key in expected if key not in state and not key.endswith("num_batches_tracked")
    ]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, wanted {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    problems = [
        _list_keys("missing", missing),
        _list_keys("unexpected", unexpected),
        _list_keys("of another shape", shapes),
    ]
    if any(problems):
        raise ConvlensError(
            f"{path} does not fit the architecture: {'; '.join(filter(None, problems))}; "
            f"name the architecture that the weights were trained with "
            f"(python:MODULE:FACTORY for one of your own)"
        )
    network.load_state_dict(state, strict=False)


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConvlensError(_damaged(path, "a safetensors file", error)) from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # torch warns of pickle protocols and archives that it then refuses with an error
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the unpickler raises errors of any type for damaged bytes
        raise ConvlensError(_refused(path, error)) from error


def _refused(path: Path, error: Exception) -> str:
    callable_name = re.search(r"GLOBAL (\S+)", str(error))
    if callable_name:
        return (
            f"{path} wants to run {callable_name[1]} while it is read, which is not done; "
            f"save network.state_dict() alone, or use safetensors"
        )
    if "TorchScript" in str(error):
        return (
            f"{path} is a TorchScript archive, which has no layers that can be traced; "
            f"save the state_dict() of the module that it was scripted from"
        )
    if isinstance(error, pickle.UnpicklingError):  # its message advises to load the file anyway
        return (
            f"{path} cannot be read without running what is in it, which is not done; "
            f"save network.state_dict() alone, or use safetensors"
        )
    return _damaged(path, "what torch.save writes", error)


def _damaged(path: Path, kind: str, error: Exception) -> str:
    return f"{path} is damaged or not {kind} ({describe_error(error)}); copy it again"


def _state_inside(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors in the content of a file, which may be nested."""
    while isinstance(content, Mapping):
        inner = next(filter(_is_mapping, map(content.get, _NESTINGS)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise ConvlensError(
            f"{path} holds a {type(content).__name__}; a mapping of names to tensors is needed"
        )
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        keys = ", ".join(map(str, list(content)[:_MOST_NAMED])) or "none"
        raise ConvlensError(
            f"{path} holds no tensors at its top or under {', '.join(_NESTINGS)} (keys: {keys})"
        )
    return state


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _strip_prefixes(key: str, expected: Mapping[str, Tensor]) -> str:
    while key not in expected and key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return key


def _list_keys(kind: str, keys: Sequence[str]) -> str:
    if not keys:
        return ""
    more = ", …" if len(keys) > _MOST_NAMED else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:_MOST_NAMED])}{more})"
