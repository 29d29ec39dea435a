"""A result in words, for people, and as plain data, for JSON."""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from torch import Tensor

LISTED = 64  # values of a tensor that plain data still lists
_SHOWN = 6  # items of a tuple or dictionary that words still name
_LINE = 100  # characters
_FIELDS = 4  # fields of a result without summary that are described
_LONGEST_FIELD = 120  # characters of one of them
_MOST_LINES = 3  # of a summary


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
            return repr(value if len(value) <= _LINE else value[: _LINE - 1] + "…")
        case float():
            return _short(value)
        case tuple():
            items = [describe(item) for item in value[:_SHOWN]]
            return f"({_join_items(items, len(value))})"
        case dict():
            first = list(value.items())[:_SHOWN]
            items = [f"{key!r}: {describe(item)}" for key, item in first]
            return f"{{{_join_items(items, len(value))}}}"
    line, _, more = repr(value).partition("\n")
    return f"{line} …" if more else line


def result_in_lines(name: str, summary: str, fields: Mapping[str, Any]) -> str:
    """A result in at most six lines.

    All fields if they fit into one line; else the summary and the names of the fields; without a
    summary the first fields.

    Args:
        name: name of the class.
        summary: the summary; empty for none.
        fields: the fields by name.
    """
    described = [f"{field}={describe(value)}" for field, value in fields.items()]
    line = f"{name}({', '.join(described)})"
    if len(line) <= _LINE:
        return line
    if not summary:
        more = len(described) - _FIELDS
        described = [_shorten(text, _LONGEST_FIELD) for text in described[:_FIELDS]]
        lines = [*described, f"… {more} more"] if more > 0 else described
        return f"{name}(\n    " + ",\n    ".join(lines) + ",\n)"
    lines = [
        line
        for sentence in f"{name}: {summary}".split("\n")
        for line in textwrap.wrap(sentence, _LINE - 3, subsequent_indent="  ")
    ]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1]} …"]
    names = _shorten(f"  fields: {', '.join(fields)}", _LINE - 1)
    return f"<{chr(10).join([*lines, names])}>"


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    """Shape, type and range of a tensor; the range leaves NaN out, and is None without values."""
    missing = tensor.isnan()
    any_missing = bool(missing.any())
    # Selecting values copies them, which takes far longer than all the rest.
    values = tensor.detach()[~missing] if any_missing else tensor.detach()
    ordered = values.numel() > 0 and not values.is_complex()
    description: dict[str, Any] = {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "min": to_plain_data(values.min().item(), 0) if ordered else None,
        "max": to_plain_data(values.max().item(), 0) if ordered else None,
    }
    return description | ({"nan": int(missing.sum())} if any_missing else {})


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
