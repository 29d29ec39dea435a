"""The sources of the documentation site, and its extensions as modules."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

from support.folders import TESTS

DOCS = TESTS.parent / "docs"


def extension(name: str) -> ModuleType:
    """The module of an extension in `docs/_ext`."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def code_blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Caption (or an empty text) and code of the blocks of a language on a page."""
    blocks = []
    pattern = rf"^\.\. code-block:: {language}\n((?:   :.*\n)*)\n((?:   .*\n|\n)+)"
    for match in re.finditer(pattern, page.read_text(encoding="utf-8") + "\n", re.MULTILINE):
        caption = re.search(r":caption: (.*)", match[1])
        code = "\n".join(line[3:] for line in match[2].rstrip().splitlines()) + "\n"
        blocks.append((caption[1] if caption else "", code))
    return blocks


def fenced_blocks(page: Path, language: str = "") -> list[str]:
    """Code of the fenced blocks of a language in a Markdown file; by default those without one."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
