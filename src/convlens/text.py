"""Escaping of text from outside, such as file names and labels, before it is shown or written.

Text from outside may hold anything: control characters that change what a terminal shows, line
breaks that forge a line of output, formulas that a spreadsheet runs, parts that lead out of a
folder. All escaping is here, except that of HTML, which the templates do.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

_ESCAPED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_JOINERS = "\u200c\u200d"  # format characters that emoji and several scripts need
# Controls, format characters (some reverse the direction of writing), single surrogates, and the
# separators of lines and paragraphs.
_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")  # and the controls of ASCII
_FORMULA = re.compile(r"'*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")  # also the full-width signs
_NAME_BYTES = 180  # of 255 in most file systems; a number or a suffix may be added
_DIGEST = 8  # hexadecimal digits that tell shortened names apart


def printable(text: str | Path, *, lines: bool = False) -> str:
    r"""Text on one line that any terminal in UTF-8 shows as it is.

    Control characters, line breaks, characters that change the direction of writing, and bytes
    that are not UTF-8 are written as in a Python string.

    Args:
        text: any text, or a path as the operating system gives it.
        lines: keep line breaks and tabs; default: escape them too.

    Example:
        >>> printable("photos/cat.jpg")
        'photos/cat.jpg'
        >>> print(printable("bad\x1b[31m\n.png"))
        bad\x1b[31m\n.png
    """
    text = os.fspath(text)
    if text.isprintable():  # the usual case
        return text
    unescaped = "\n\t" if lines else ""
    return _NOT_ASCII.sub(lambda match: _show(match.group(), unescaped, _escape), text)


def csv_text(text: str) -> str:
    """Text as a cell of a CSV file that no spreadsheet takes for a formula.

    A cell that begins with =, +, - or @ gets an apostrophe in front. `read_csv_text` removes it.
    Cells with numbers are written without this function.

    Example:
        >>> csv_text("=1+1"), csv_text("cat")
        ("'=1+1", 'cat')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def read_csv_text(cell: str) -> str:
    """The text of a cell that `csv_text` wrote; any other cell as it is.

    Example:
        >>> read_csv_text("'=1+1"), read_csv_text("'tis")
        ('=1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def json_text(data: Any) -> str:
    """Plain data as the text of a JSON file, indented for people, that any terminal shows as it is.

    Args:
        data: what `json.dumps` takes, without NaN and infinities.
    """
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # What is not shown can only be inside a string, where JSON has an escape for it.
    return _NOT_ASCII.sub(
        lambda match: _show(match.group(), "\n", lambda char: json.dumps(char)[1:-1]), text
    )


def plot_text(text: str) -> str:
    r"""Text that matplotlib draws as it is, although dollar signs mark formulas there.

    Example:
        >>> print(plot_text("$100"))
        \$100
    """
    return printable(text, lines=True).replace("$", r"\$")


def file_name(text: str) -> str:
    r"""Text as the name of a file or folder that lies in its folder, is visible and not too long.

    Args:
        text: any text. Slashes become hyphens; what `printable` escapes is escaped. A name that is
            too long is shortened and gets a hash of the whole.

    Example:
        >>> file_name("../cat\n.jpg"), file_name("..")
        ('_..-cat\\n.jpg', '_..')
    """
    name = printable(text).replace("/", "-") or "_"
    if name.startswith("."):
        name = f"_{name}"
    encoded = name.encode()
    if len(encoded) <= _NAME_BYTES:
        return name
    suffix = PurePath(name).suffix if len(PurePath(name).suffix.encode()) <= _DIGEST else ""
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGEST]
    return f"{encoded[: _NAME_BYTES - 2 * _DIGEST].decode(errors='ignore')}-{digest}{suffix}"


def composed(text: str) -> str:
    """Text in Unicode's composed form (NFC), in which equal names are equal.

    A file system may hold the decomposed form (NFD) of a name that a table has in composed form.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _show(char: str, unescaped: str, escape: Callable[[str], str]) -> str:
    """A character as it is, or escaped if a terminal does not show it."""
    if char in unescaped or char in _JOINERS or unicodedata.category(char) not in _UNSHOWN:
        return char
    return escape(char)


def _escape(char: str) -> str:
    if char in _ESCAPED:
        return _ESCAPED[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python decodes file names
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
