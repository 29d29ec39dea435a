"""Errors that a user can act on, and the phrases that their messages share.

A message is one line that says what is wrong, what was given and what to do.
"""

import difflib
import re
from collections.abc import Iterable

from convlens.text import printable

_WORDS = re.compile(r"[^\W_]+")
_LONGEST = 200  # characters of another library's message


class ConvlensError(Exception):
    """The input cannot be used. The message is one line, which is shown as it is.

    Names and other libraries' messages in it may hold anything, so the message is made printable.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class PhotoError(ConvlensError):
    """A photo cannot be read. Among many photos it is skipped, counted and named."""


class ConvlensWarning(UserWarning):
    """The results of a network have to be read with care. The message is one line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class TraceError(ConvlensError):
    """The structure of the network cannot be traced for this input."""


def first_line(error: Exception) -> str:
    r"""First line of an error's message, or the name of its type if the message is empty.

    Example:
        >>> first_line(ValueError("no such axis\ndetails"))
        'no such axis'
    """
    return printable(next(iter(str(error).strip().splitlines()), type(error).__name__))


def describe_error(error: BaseException) -> str:
    """Type of another library's error and the first sentence of its message, on one line.

    Returns:
        `Type: message`, the message cut to 200 characters; `Type` if the message is empty.

    Example:
        >>> describe_error(KeyError("conv9. The state dict has no such key."))
        "KeyError: 'conv9"
    """
    message = printable(" ".join(str(error).split())).partition(". ")[0]
    if len(message) > _LONGEST:
        message = message[: _LONGEST - 1] + "…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def suggest(name: str, names: Iterable[str], *, most: int = 3) -> str:
    """The known names nearest to a wrong one, as the end of an error message.

    Names that contain all words of `name` come first (for cat: tiger cat), then names that contain
    it as a part, then names with a similar spelling. Case is ignored.

    Args:
        name: what the user gave.
        names: all names that are known.
        most: largest number of suggestions; default: 3.

    Returns:
        `"; nearest: a, b, c"`, or an empty string if no name comes close.

    Example:
        >>> suggest("cat", ["dog", "catamaran", "tiger cat"])
        '; nearest: tiger cat, catamaran'
    """
    by_key = {known.casefold(): known for known in names}
    key = name.casefold()
    words = set(_WORDS.findall(key))
    with_all_words = [known for known in by_key if words and words <= set(_WORDS.findall(known))]
    containing = [known for known in by_key if len(key) > 1 and key in known]
    similar = difflib.get_close_matches(key, list(by_key), n=most, cutoff=0.5)
    candidates = dict.fromkeys(with_all_words + containing + similar)
    suggestions = [by_key[candidate] for candidate in candidates][:most]
    return f"; nearest: {', '.join(suggestions)}" if suggestions else ""
