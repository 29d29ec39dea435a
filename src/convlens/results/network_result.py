"""Results about a network keep the warnings that were given while they were computed.

A warning, for example that the outputs are probabilities and no logits, is shown once, when it is
given. Whoever loads the result later has to know about it, too.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import ParamSpec, TypeVar

from convlens.errors import ConvlensWarning
from convlens.results.result import Result

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@dataclass(frozen=True, eq=False)
class NetworkResult(Result):
    """Base class of results about a network.

    Attributes:
        warnings: why the result has to be read with care, one sentence each; usually empty.
    """

    warnings: tuple[str, ...] = field(default=(), kw_only=True)


def warn(sentence: str) -> None:
    """Give a `ConvlensWarning`, and keep it for the result that is being computed.

    Args:
        sentence: the warning, without a full stop.
    """
    collected = _collected.get()
    if collected is not None and sentence not in collected:
        collected.append(sentence)
    warnings.warn(ConvlensWarning(sentence), stacklevel=3)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """The sentences of all warnings inside a `with` block, each once, in the order given."""
    outer, collected = _collected.get(), list[str]()
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)
        if outer is not None:
            outer.extend(sentence for sentence in collected if sentence not in outer)


def warnings_so_far() -> tuple[str, ...]:
    """The warnings given so far in the innermost `collect_warnings` around the call."""
    return tuple(_collected.get() or ())


def keep_warnings(
    function: Callable[Parameters, Returned],
) -> Callable[Parameters, Returned]:
    """A decorator: the `NetworkResult` that a function returns has the warnings given in it."""

    @wraps(function)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        with collect_warnings() as collected:
            result = function(*args, **kwargs)
        if collected and isinstance(result, NetworkResult):
            return replace(result, warnings=tuple(collected))
        return result

    return wrapper
