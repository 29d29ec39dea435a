"""Errors that a user can act on: one line that says what is wrong, what was given, what to do."""

import difflib
import re
from collections.abc import Iterable

_WORDS = re.compile(r"[^\W_]+")


class ConvlensError(Exception):
    """What the user gave cannot be used. Its text is one line, shown as it is."""


class PhotoError(ConvlensError):
    """A photo cannot be read. In a folder it is left out, counted and named."""


class TraceError(ConvlensError):
    """The network's structure cannot be followed for this input."""


def first_line(error: Exception) -> str:
    """What an error says, on one line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def suggest(name: str, names: Iterable[str], *, most: int = 3) -> str:
    """The names closest to `name`, as the end of an error's sentence.

    First those with its words among theirs (for cat: tiger cat), then those that it is a part of,
    then those that are spelt alike.

    Returns:
        `"; nearest: a, b, c"`, or an empty string where nothing comes close.
    """
    known = {known.casefold(): known for known in names}
    key = name.casefold()
    words = set(_WORDS.findall(key))
    whole = [one for one in known if words and words <= set(_WORDS.findall(one))]
    inside = [one for one in known if len(key) > 1 and key in one]
    close = difflib.get_close_matches(key, list(known), n=most, cutoff=0.5)
    found = [known[one] for one in dict.fromkeys(whole + inside + close)][:most]
    return f"; nearest: {', '.join(found)}" if found else ""


def describe_error(error: BaseException) -> str:
    """The kind of an error and its first sentence, on one line of at most 200 characters."""
    said = " ".join(str(error).split()).partition(". ")[0]
    if len(said) > 200:
        said = said[:199] + "…"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
