"""Checks of the fields of a saved result before its class is made: names, types, ranges."""

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from convlens.results.registry import is_convlens_class

# Fields of convlens's classes whose numbers are counts or lengths, and shares of 1.
_COUNTS = frozenset({
    "area", "best_step", "cells", "center_hits", "checked", "correct", "count", "dataset_photos",
    "dense_weights", "effective_area", "groups", "hits", "image", "images", "images_fired",
    "jitter", "kernel", "largest_offset", "map_size", "maps", "multiply_adds", "num_photos",
    "output", "parameters", "passes", "pgd_steps", "phases", "photos", "positions_fired",
    "positive_cells", "images_read", "size", "sizes", "steps", "stride", "tiles", "top", "total",
    "unlabeled", "validated", "global_units",
})  # fmt: skip
_SHARES = frozenset({
    "accuracies", "accuracy", "best_accuracy", "confidence", "confidences", "fired", "high",
    "low", "p_value", "predicted_share", "probabilities", "probability", "zero_gradients",
})  # fmt: skip
_MOST = 2**63 - 1  # of an integer
_ROUNDING = 1e-5  # of shares that a network has computed


def check_fields(cls: Any, fields: Mapping[str, Any]) -> None:
    """Check that a dataclass can be made of fields.

    Args:
        cls: the dataclass.
        fields: values by name.

    Raises:
        ValueError: a field is missing, unknown, of another type or out of range.
    """
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in fields:
        if name not in known:
            raise ValueError(f"{cls.__name__} has no field {name!r}")
    for name, field in known.items():
        if name not in fields:
            if field.default is field.default_factory is dataclasses.MISSING:
                raise ValueError(f"the field {name} of {cls.__name__} is missing")
            continue
        hint = field_types(cls).get(name, Any)
        if not has_type(fields[name], hint):
            raise ValueError(
                f"the field {name} of {cls.__name__} is a {type(fields[name]).__name__}, not "
                f"{getattr(hint, '__name__', hint)}"
            )
        if is_convlens_class(cls) and not _in_range(name, fields[name]):
            raise ValueError(f"the field {name} of {cls.__name__} is out of range")


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The types of the fields; none where a user's class names types that do not exist here."""
    try:
        return get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {}


def has_type(value: Any, hint: Any) -> bool:  # noqa: PLR0911 # one return for each kind
    """Whether a value has a type, also inside tuples and dictionaries; of unknown types it has."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(has_type(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(has_type(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(has_type, value, arguments))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(
            has_type(item, arguments[-1]) for item in value.values()
        )
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, tuple) and all(has_type(item, arguments[0]) for item in value)
    if hint in (float, int):
        kinds = (float, int) if hint is float else int
        return isinstance(value, kinds) and not isinstance(value, bool)
    # Any is a class, too, but nothing is its instance.
    unknown = hint is Any or not isinstance(hint, type) or origin is not None
    return unknown or isinstance(value, hint)


def _in_range(name: str, value: Any) -> bool:
    """Whether numbers are in the range of the field; NaN is, and so are tensors of no shares."""
    match value:
        case tuple():
            return all(_in_range(name, item) for item in value)
        case bool() | str() | None:
            return True
        case Tensor() if name in _SHARES and value.is_floating_point():
            numbers = value[~value.isnan()]
            return bool(((numbers >= -_ROUNDING) & (numbers <= 1 + _ROUNDING)).all())
        case int() | float():
            if name in _SHARES:
                return math.isnan(value) or -_ROUNDING <= value <= 1 + _ROUNDING
            if isinstance(value, int):
                return (0 if name in _COUNTS else -_MOST) <= value <= _MOST
    return True
