"""A result as JSON and tensors in a folder, and back.

FOLDER/result.json           format number, class and all fields but tensors
FOLDER/tensors.safetensors   the tensors, named by the dotted path of their field

What else is in the folder is for people, and is not read again; see folder.py.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convlens.errors import ConvlensError, describe_error
from convlens.files import RESULT, atomic_folder, write_tensors
from convlens.results.registry import find_result_class, is_convlens_class
from convlens.results.validation import check_fields
from convlens.text import json_text

_TENSORS = "tensors.safetensors"
_FORMAT = 2  # of the folder; raised when an older version cannot read it, or this one no older ones


def write_result(
    result: Any, folder: str | Path, write_more: Callable[[Path], None] | None = None
) -> None:
    """Write a result to a folder, whole or not at all.

    Args:
        result: the `Result`.
        folder: path of the folder.
        write_more: writes further files to the folder that it is called with. Default: none.

    Raises:
        ConvlensError: if the folder cannot be written, or holds other files.
        TypeError: if a field holds what a result cannot hold.
    """
    tensors: dict[str, Tensor] = {}
    data = {"format": _FORMAT, "result": _encode(result, "", tensors)}
    with atomic_folder(folder, marker=RESULT) as temporary:
        write_tensors(temporary / _TENSORS, tensors)
        (temporary / RESULT).write_text(json_text(data), encoding="utf-8")
        if write_more is not None:
            write_more(temporary)


def read_result(folder: Path) -> Any:
    """Read the result that was written to a folder; its tensors are on the CPU.

    Raises:
        ConvlensError: if there is none, it is damaged, was saved by another version, or is of a
            class whose module is not imported.
    """
    try:
        data = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        _check_format(data["format"])
        result = data["result"]
        if not isinstance(result, dict) or not {"class", "fields"} <= result.keys():
            raise ValueError("it has no class and no fields")  # noqa: TRY301 # as other damage
        return _decode(result, load_file(folder / _TENSORS))
    except ConvlensError as error:
        raise ConvlensError(f"the result in {folder} {error}") from None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ConvlensError(
            f"{folder} holds no saved result; give a folder that result.save wrote"
        ) from error
    except (
        OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError
    ) as error:  # fmt: skip
        raise ConvlensError(
            f"the result in {folder} is damaged ({describe_error(error)}); save it again"
        ) from error


def fields_of(result: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, in their order."""
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def _check_format(number: int) -> None:
    if number < _FORMAT:
        raise ConvlensError(
            "was saved by convlens 0.1, and this version does not read it; make it again"
        )
    if number > _FORMAT:
        raise ConvlensError("was saved by a newer convlens; update this one")


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON; its tensors are put into `tensors` under their dotted paths.

    Values that JSON cannot tell from others become an object with one key that says what they
    are. So text and dictionaries may hold anything.
    """
    match value:
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            while path in tensors:  # a dot in a dictionary's key
                path += "'"
            # A copy, as safetensors takes no tensors that share memory.
            tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": path}
        case tuple():
            return [_encode(item, _join(path, str(k)), tensors) for k, item in enumerate(value)]
        case dict() if all(isinstance(key, str) for key in value):
            items = {key: _encode(item, _join(path, key), tensors) for key, item in value.items()}
            return {"dict": items}
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and hasattr(value, "save"):
        cls = type(value)
        names = {"class": cls.__name__}
        if not is_convlens_class(cls):
            names["module"] = cls.__module__
        fields = fields_of(value).items()
        return names | {"fields": {k: _encode(v, _join(path, k), tensors) for k, v in fields}}
    raise TypeError(f"{path} is a {type(value).__name__}, which a result cannot hold")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"float": text}:
            return float(text)
        case {"tensor": path}:
            return tensors[path]
        case list():
            return tuple(_decode(item, tensors) for item in value)
        case {"dict": items}:
            return {key: _decode(item, tensors) for key, item in items.items()}
        case {"class": str(name), "fields": dict(fields)}:
            cls = find_result_class(name, value.get("module"))
            decoded = {key: _decode(item, tensors) for key, item in fields.items()}
            check_fields(cls, decoded)
            return cls(**decoded)
        case dict():
            raise ValueError("it holds an object of an unknown kind")
    return value
