"""Errors that a user can act on: one line that says what is wrong, what was given, what to do."""

import difflib
from collections.abc import Iterable


class ConvlensError(Exception):
    """What the user gave cannot be used. Its text is one line, shown as it is."""


class PhotoError(ConvlensError):
    """A photo cannot be read. In a folder it is left out, counted and named."""


class TraceError(ConvlensError):
    """The network's structure cannot be followed for this input."""


def first_line(error: Exception) -> str:
    """What an error says, on one line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def nearest(name: str, names: Iterable[str], *, most: int = 3) -> str:
    """The names closest to `name`, as the end of an error's sentence.

    Returns:
        `"; nearest: a, b, c"`, or an empty string where nothing comes close.
    """
    known = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), list(known), n=most, cutoff=0.5)
    inside = [key for key in known if name.casefold() in key and key not in close]
    found = [known[key] for key in (close + inside)[:most]]
    return f"; nearest: {', '.join(found)}" if found else ""
