"""Escaping of text from outside (file names, tables) before it is shown or written."""

import os
from pathlib import Path


def printable_path(path: str | Path) -> str:
    """A path as text that can be written; bytes in it that are no UTF-8 stand in hexadecimal."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
