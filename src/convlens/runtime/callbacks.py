"""Callbacks that a caller may leave out."""

from collections.abc import Callable
from typing import Any, ParamSpec

Parameters = ParamSpec("Parameters")


def or_ignore(callback: Callable[Parameters, None] | None) -> Callable[Parameters, None]:
    """A callback, or a function that does nothing in place of None.

    Example:
        >>> or_ignore(None)("photos", 1, 2)
    """
    return callback if callback is not None else _ignore


def _ignore(*arguments: Any, **named: Any) -> None:
    """Do nothing."""
