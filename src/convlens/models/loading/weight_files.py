"""Weight files: read without running what is in them, and compared with the network first."""

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
_NAMED = 3  # keys of each kind that an error names


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file, on the CPU, by name.

    Args:
        path: a `.safetensors` file, or what `torch.save` wrote: a state dict, also one inside
            a mapping under `state_dict`, `model`, `model_state_dict` or `model_ema`.

    Raises:
        ConvlensError: a file that is missing, empty, damaged or holds no weights, or a pickle
            that wants to run code, which is not done.
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
    """Fills the network with the tensors, all or none.

    The prefixes that data-parallel and compiled networks put before their keys are taken off.

    Args:
        network: changed in place.
        state: tensors by name, as `read_state_dict` gives them.
        path: for the error.

    Raises:
        ConvlensError: keys that are missing or not known, or other shapes.
    """
    wanted = network.state_dict()
    state = {_bare_key(key, wanted): tensor for key, tensor in state.items()}
    # Batch norm's step counter came with PyTorch 0.4.1 and is not used outside training.
    missing = [
        key for key in wanted if key not in state and not key.endswith("num_batches_tracked")
    ]
    unexpected = [key for key in state if key not in wanted]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, wanted {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    problems = [
        _some("missing", missing),
        _some("unexpected", unexpected),
        _some("of another shape", shapes),
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
    except Exception as error:  # damaged bytes make the unpickler stumble in any way
        raise ConvlensError(_refused(path, error)) from error


def _refused(path: Path, error: Exception) -> str:
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if wanted:
        return (
            f"{path} wants to run {wanted[1]} while it is read, which is not done; "
            f"save network.state_dict() alone, or use safetensors"
        )
    if "TorchScript" in str(error):
        return (
            f"{path} is a TorchScript archive, which has no layers to look at; "
            f"save the state_dict() of the module that it was scripted from"
        )
    if isinstance(error, pickle.UnpicklingError):  # whose text tells to load it all the same
        return (
            f"{path} cannot be read without running what is in it, which is not done; "
            f"save network.state_dict() alone, or use safetensors"
        )
    return _damaged(path, "what torch.save writes", error)


def _damaged(path: Path, kind: str, error: Exception) -> str:
    return f"{path} is damaged or not {kind} ({describe_error(error)}); copy it again"


def _state_inside(content: Any, path: Path) -> dict[str, Tensor]:
    """The mapping of tensors in what a file held, however often it is nested."""
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
        keys = ", ".join(map(str, list(content)[:_NAMED])) or "none"
        raise ConvlensError(
            f"{path} holds no tensors at its top or under {', '.join(_NESTINGS)} (keys: {keys})"
        )
    return state


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _bare_key(key: str, wanted: Mapping[str, Tensor]) -> str:
    while key not in wanted and key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return key


def _some(word: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    more = ", …" if len(items) > _NAMED else ""
    return f"{len(items)} {word} ({', '.join(items[:_NAMED])}{more})"
