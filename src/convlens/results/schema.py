"""The JSON Schema of the numbers of results, made from the result classes and their docstrings.

`python -m convlens.results.schema` prints it; docs/numbers.md explains it.
"""

import dataclasses
import inspect
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin

from torch import Tensor

from convlens.results.numbers import SCHEMA
from convlens.results.registry import CONVLENS_CLASSES
from convlens.results.validation import field_types
from convlens.text import json_text

_DEFINITIONS: dict[str, Any] = {
    "number": {
        "description": "A number; those that JSON lacks are the texts nan, inf and -inf.",
        "anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}],
    },
    "values": {
        "description": "The values of a tensor, row by row.",
        "anyOf": [
            {"$ref": "#/$defs/number"},
            {"type": "boolean"},
            {"type": "array", "items": {"$ref": "#/$defs/values"}},
        ],
    },
    "tensor": {
        "description": "The values of a small tensor, or the shape, type and range of a large one.",
        "anyOf": [
            {"$ref": "#/$defs/values"},
            {
                "type": "object",
                "required": ["shape", "dtype", "min", "max"],
                "properties": {
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "dtype": {"type": "string"},
                    "min": {"description": "The least value; null if there is none."},
                    "max": {"description": "The greatest value; null if there is none."},
                    "nan": {"type": "integer", "description": "The number of NaN, if any."},
                },
            },
        ],
    },
    "header": {
        "description": "What the numbers are of.",
        "type": "object",
        "required": ["schema", "version", "class", "command"],
        "properties": {
            "schema": {"const": SCHEMA, "description": "The version of this schema."},
            "version": {"type": "string", "description": "The version of convlens."},
            "class": {"type": "string", "description": "The class of the result."},
            "command": {
                "type": ["string", "null"],
                "description": "The command line that made the result; null if unknown.",
            },
        },
    },
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `numbers.json` and of the output of `--json`.

    Example:
        >>> json_schema()["$defs"]["Dream"]["properties"]["layer"]["type"]
        'string'
    """
    definitions = {name: _describe_class(cls) for name, cls in _result_classes()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Numbers of convlens, version {SCHEMA}",
        "type": "object",
        "required": ["convlens", "summary"],
        "properties": {
            "convlens": {"$ref": "#/$defs/header"},
            "summary": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The result in sentences; empty for a result without summary.",
            },
        },
        "allOf": [
            {
                "if": {"properties": {"convlens": {"properties": {"class": {"const": name}}}}},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in definitions
        ],
        "$defs": {**_DEFINITIONS, **definitions},
    }


def describe_fields(cls: type) -> dict[str, str]:
    """The descriptions of the fields of a class, from the section Attributes of its docstring."""
    attributes = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    body = re.split(r"\n\S", attributes)[0]
    entries = re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", f"{body}\n", re.M | re.S)
    return {name: " ".join(text.split()) for name, text in entries}


def _result_classes() -> Iterator[tuple[str, type]]:
    """The classes of convlens's results by name, sorted."""
    for name, module in sorted(CONVLENS_CLASSES.items()):
        yield name, getattr(import_module(module), name)


def _describe_class(cls: Any) -> dict[str, Any]:
    """The schema of a class. It allows more keys, which later versions may add."""
    hints = field_types(cls)
    words = dict(item for base in reversed(cls.__mro__) for item in describe_fields(base).items())
    properties = {
        field.name: _describe_type(hints[field.name])
        | ({"description": words[field.name]} if field.name in words else {})
        for field in dataclasses.fields(cls)
        if field.name not in cls.numbers_fields
    }
    for name, replaced in cls.numbers_fields.items():
        if replaced is not None:
            hint, description = replaced
            properties[name] = _describe_type(hint) | {"description": description}
    return {
        "description": (inspect.getdoc(cls) or "").split("\n")[0],
        "type": "object",
        "required": list(properties),
        "properties": properties,
    }


def _describe_type(hint: Any) -> dict[str, Any]:  # noqa: PLR0911 # one return for each kind
    """The schema of a field by its type hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe_type(argument) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return {"type": "array", "prefixItems": [_describe_type(item) for item in arguments]}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _describe_type(arguments[-1])}
    if origin is not None and issubclass(origin, Sequence):
        return {"type": "array", "items": _describe_type(arguments[0])}
    if hint is Tensor:
        return {"$ref": "#/$defs/tensor"}
    if isinstance(hint, type) and hint.__name__ in CONVLENS_CLASSES:
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if hint is float:
        return {"$ref": "#/$defs/number"}
    kinds = {int: "integer", bool: "boolean", str: "string", types.NoneType: "null"}
    return {"type": kinds[hint]} if hint in kinds else {}


if __name__ == "__main__":
    print(json_text(json_schema()), end="")
