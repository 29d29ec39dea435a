"""The convolution page: the chapter's arithmetic on editable numbers, without a network."""

import math
import re

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from convlens.analyses.worked_examples.convolution import convolution_arithmetic
from convlens.errors import ConvlensError
from convlens.explorer.rendering import render

_LARGEST = {"image": 12, "kernel": 7}  # sides
_DEFAULTS = {"image": "1,2,3;4,5,6;7,8,9", "kernel": "1,0;0,-1"}
# As JavaScript and Python write numbers: 3, -0.5, 0.3333333333333333, 1e-7.
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_DIGITS = 25  # of a number, at most
# Name, least and greatest value, and default of each whole number.
_SETTINGS = (("padding", 0, 4, 0), ("stride", 1, 4, 1), ("dilation", 1, 4, 1))


async def convolution(request: Request) -> Response:
    """The arithmetic of a small convolution in the state that the address names."""
    query = request.query_params
    matrices = {name: _read_matrix(query, name) for name in _DEFAULTS}
    settings = [
        (name, least, most, _read_whole(query, name, least, most, default))
        for name, least, most, default in _SETTINGS
    ]
    bias = query.get("bias", "0")
    if not _is_number(bias):
        raise ConvlensError(f"bias {bias[:40]!r} is no number; give one, such as bias=0.5")
    return render(
        request, "pages/convolution.html.jinja", matrices=matrices, settings=settings, bias=bias,
        largest=_LARGEST, example=convolution_arithmetic().equation(1, 1).replace("\n", " "),
    )  # fmt: skip


def _read_matrix(query: QueryParams, name: str) -> list[list[str]]:
    """The rows of numbers that an address names, as text.

    Raises:
        ConvlensError: text of another form, rows of different lengths, or too many.
    """
    text, most = query.get(name, _DEFAULTS[name]), _LARGEST[name]
    rows = [[number.strip() for number in row.split(",")] for row in text.split(";")]
    numbers = [number for row in rows for number in row]
    if not all(map(_is_number, numbers)) or len({len(row) for row in rows}) > 1:
        raise ConvlensError(
            f"{name} {text[:40]!r} is no matrix; write rows of equal length, such as 1,2;3,4"
        )
    if max(len(rows), len(rows[0])) > most:
        raise ConvlensError(f"the {name} has more than {most} rows or columns; give a smaller one")
    return rows


def _is_number(text: str) -> bool:
    return len(text) <= _DIGITS and bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


def _read_whole(query: QueryParams, name: str, least: int, most: int, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or len(text) > 9 or not least <= int(text) <= most:
        raise ConvlensError(f"{name} {text!r}; give a whole number of {least} to {most}")
    return int(text)
