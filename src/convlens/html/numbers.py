"""Numbers as HTML, each with its exact value and its place in the JSON file of the document."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from convlens.wording import with_sign

NumberWriter = Callable[[str, str], Markup]


def number_writer(data: Mapping[str, Any], prefix: str = "") -> NumberWriter:
    """A function that writes the number at a place of the data.

    A template that takes all its numbers from this function shows no number that the JSON file
    lacks.

    Args:
        data: the content of the JSON file.
        prefix: dotted path that all sources are relative to; default: the root of the data.

    Returns:
        A function of a dotted path (`layers.0.stride`) and the name of a format in `FORMATS`. It
        returns `<data value="…" data-at="…">…</data>`.
    """

    def write(path: str, form: str) -> Markup:
        place = f"{prefix}.{path}" if prefix else path
        value: Any = data
        for key in place.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        text = FORMATS[form](value)
        return Markup('<data value="{}" data-at="{}">{}</data>').format(value, place, text)

    return write


def short(number: float) -> str:
    """A number with three digits and the letter of its thousands.

    Example:
        >>> short(4652008)
        '4.65 M'
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def _signed(value: float) -> str:
    return f"{value:+#.2g}".rstrip(".").replace("-", "−") if value else "0"


def _norm(value: float) -> str:
    """A norm, short enough to stand under a filter."""
    if 0 < value < 0.01:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


FORMATS: dict[str, Callable[[Any], str]] = {
    "count": lambda value: f"{value:,}",
    "short": short,
    "percent": lambda value: f"{value * 100:.1f}\N{NO-BREAK SPACE}%",
    "area": lambda value: f"{value:.2f}",
    "signed": _signed,
    "number": lambda value: f"{value:.3g}".replace("-", "−"),
    "norm": _norm,
    "nats": with_sign,
    "p": lambda value: f"{value:.2g}" if value >= 0.001 else "< 0.001",
    "seconds": lambda value: f"{value:.1f} s" if math.isfinite(value) else "",
}
