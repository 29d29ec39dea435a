"""Functions that refer to parts of a network, made to refer to those of its clone.

Code often replaces the `forward` of a network by a function that calls the network's own modules,
which it finds in its closure, among its default values, or in a global variable. A deep copy keeps
functions as they are, so that such a function would run the modules of the original.
"""

from collections import ChainMap
from collections.abc import MutableMapping
from functools import partial
from operator import is_
from types import CellType, FunctionType, MethodType
from typing import Any


def rebind(value: Any, copies: MutableMapping[int, Any]) -> Any:  # noqa: PLR0911 # one for each kind
    """A function, or a container of such, that refers to copies instead of the originals.

    Args:
        value: any value.
        copies: the copy of each original, by the `id` of the original.

    Returns:
        The copy if the value is an original; a new function or container if it refers to one; else
        the value itself.
    """
    if id(value) in copies:
        return copies[id(value)]
    # What refers to itself stands for itself inside.
    inside = {id(value): value}
    match value:
        case FunctionType():
            return _rebind_function(value, ChainMap(inside, copies))
        case MethodType():
            owner = rebind(value.__self__, copies)
            return value if owner is value.__self__ else MethodType(value.__func__, owner)
        case partial():
            parts = (value.func, value.args, value.keywords)
            function, arguments, options = (rebind(part, copies) for part in parts)
            if all(map(is_, parts, (function, arguments, options))):
                return value
            return partial(function, *arguments, **options)
        case dict() if type(value) is dict:
            inner = ChainMap(inside, copies)
            items = {key: rebind(item, inner) for key, item in value.items()}
            return value if all(map(is_, items.values(), value.values())) else items
        case list() | tuple() if type(value) in (list, tuple):
            inner = ChainMap(inside, copies)
            rebound = [rebind(item, inner) for item in value]
            return value if all(map(is_, rebound, value)) else type(value)(rebound)
    return value


def _rebind_function(function: FunctionType, copies: MutableMapping[int, Any]) -> FunctionType:
    cells = function.__closure__ or ()
    contents = [_contents(cell) for cell in cells]
    named = {
        name: function.__globals__[name]
        for name in function.__code__.co_names
        if id(function.__globals__.get(name)) in copies
    }
    parts = (contents, function.__defaults__, function.__kwdefaults__, named)
    rebound = [rebind(part, copies) for part in parts]
    if all(map(is_, parts, rebound)):
        return function
    new_contents, defaults, keyword_defaults, new_globals = rebound
    new_cells = tuple(
        cell if content is old else CellType(content)
        for cell, content, old in zip(cells, new_contents, contents, strict=True)
    )
    copy = FunctionType(
        function.__code__,
        {**function.__globals__, **new_globals} if named else function.__globals__,
        function.__name__,
        defaults,
        new_cells or None,
    )
    copy.__kwdefaults__ = keyword_defaults
    copy.__dict__.update(function.__dict__)
    return copy


def _contents(cell: CellType) -> Any:
    """What a cell holds; None for one that is still empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
