"""A result in words, for people, and as plain data, for JSON."""

import math
from typing import Any

from torch import Tensor

LISTED = 64  # values of a tensor that plain data still lists
_SHOWN = 6  # items of a tuple or dictionary that words still name
LINE = 100  # characters


def to_plain_data(value: Any, listed: int) -> Any:
    """A field of a result as what `json.dumps` takes; see `Result.to_json`."""
    match value:
        case Tensor():
            if value.numel() <= listed:
                return to_plain_data(value.tolist(), listed)
            return _describe_tensor(value)
        case float() if not math.isfinite(value):
            return str(value)
        case tuple() | list():
            return [to_plain_data(item, listed) for item in value]
        case dict():
            return {key: to_plain_data(item, listed) for key, item in value.items()}
    return value.to_json(listed=listed) if hasattr(value, "to_json") else value


def describe(value: Any) -> str:
    """A field of a result in a few words, such as `float32 (3, 7, 7), -1.2 to 3.4`."""
    match value:
        case Tensor():
            return _tensor_in_words(value)
        case str():
            return repr(value if len(value) <= LINE else value[: LINE - 1] + "…")
        case float():
            return _short(value)
        case tuple():
            items = [describe(item) for item in value[:_SHOWN]]
            return f"({_join_items(items, len(value))})"
        case dict():
            first = list(value.items())[:_SHOWN]
            items = [f"{key!r}: {describe(item)}" for key, item in first]
            return f"{{{_join_items(items, len(value))}}}"
    return repr(value)


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    """Shape, type and range of a tensor; the range leaves NaN out, and is None without values."""
    missing = tensor.isnan()
    values = tensor.detach()[~missing]
    ordered = values.numel() > 0 and not values.is_complex()
    description: dict[str, Any] = {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "min": to_plain_data(values.min().item(), 0) if ordered else None,
        "max": to_plain_data(values.max().item(), 0) if ordered else None,
    }
    return description | ({"nan": int(missing.sum())} if bool(missing.any()) else {})


def _tensor_in_words(tensor: Tensor) -> str:
    about = _describe_tensor(tensor)
    words = f"{about['dtype']} ({', '.join(map(str, tensor.shape))})"
    if about["min"] is not None:
        words += f", {_short(about['min'])} to {_short(about['max'])}"
    return words + (f", {about['nan']} NaN" if "nan" in about else "")


def _short(number: Any) -> str:
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def _join_items(items: list[str], count: int) -> str:
    return ", ".join(items) + (f", … {count - len(items)} more" if count > len(items) else "")
