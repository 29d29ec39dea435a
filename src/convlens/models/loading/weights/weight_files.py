"""Weight files, read without running code in them."""

import argparse
import pathlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from convlens.errors import ConvlensError, describe_error

# Plain data that training scripts save beside the weights; to make them runs no code of a file.
_HARMLESS_TYPES: list[Any] = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    type(np.dtype(np.int64)),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]


@dataclass(frozen=True)
class WeightFile:
    """The content of a weight file.

    Attributes:
        path: path of the file.
        content: what `torch.save` was given, with tensors on the CPU; for safetensors a mapping
            of names to tensors.
        metadata: texts in the header of a safetensors file, by name.
    """

    path: Path
    content: Any
    metadata: Mapping[str, str]


def read_weight_file(path: Path) -> WeightFile:
    """Read a weight file to the CPU.

    Args:
        path: a `.safetensors` file, or a file that `torch.save` wrote.

    Raises:
        ConvlensError: a file that does not exist, is empty or damaged, or a pickle that would run
            code, which is not done.
    """
    if path.is_dir():
        raise ConvlensError(f"{path} is a folder; give the file with the weights in it")
    if not path.exists():
        raise ConvlensError(f"there is no file {path}")
    try:
        if path.stat().st_size == 0:
            raise ConvlensError(f"{path} is empty; copy it again")
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return WeightFile(path, _read_pickle(path), {})
    except OSError as error:
        raise ConvlensError(f"{path} cannot be read ({describe_error(error)})") from error


def _read_safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return WeightFile(path, load_file(path), metadata)
    except SafetensorError as error:
        raise ConvlensError(_damaged(path, "a safetensors file", error)) from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_HARMLESS_TYPES):
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
    if _is_exported_program(path):
        return (
            f"{path} is a program that torch.export saved, not weights; "
            f"save the state_dict() of the network that was exported"
        )
    if isinstance(error, pickle.UnpicklingError):  # its message advises to load the file anyway
        return (
            f"{path} cannot be read without running what is in it, which is not done; "
            f"save network.state_dict() alone, or use safetensors"
        )
    return _damaged(path, "what torch.save writes", error)


def _is_exported_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/archive_format") for name in archive.namelist())
    except Exception:  # no archive, or a damaged one, for which zipfile raises errors of many types
        return False


def _damaged(path: Path, kind: str, error: Exception) -> str:
    return f"{path} is damaged or not {kind} ({describe_error(error)}); copy it again"
