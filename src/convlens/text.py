"""Escaping of text from outside, such as file names, before it is shown or written."""

import os
from pathlib import Path


def printable_path(path: str | Path) -> str:
    r"""A path as text that any file or terminal in UTF-8 can hold.

    Args:
        path: a path as the operating system gives it; it may hold bytes that are not UTF-8.

    Returns:
        The path, with each such byte written in hexadecimal, as in `caf\xe9.jpg`.

    Example:
        >>> printable_path("photos/cat.jpg")
        'photos/cat.jpg'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")
