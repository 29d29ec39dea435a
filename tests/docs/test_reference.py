"""The reference: every public name, every result class, and messages that exist."""

import ast
import re

import pytest

import convlens
from convlens.results.registry import CONVLENS_CLASSES
from support.folders import TESTS
from support.site import DOCS, extension

REFERENCE = DOCS / "reference"
MESSAGES = re.findall(r"^``(.+)``$", (REFERENCE / "messages.rst").read_text("utf-8"), re.MULTILINE)


def test_the_reference_lists_every_public_name_once():
    text = (REFERENCE / "index.rst").read_text(encoding="utf-8")
    names = [
        name
        for block in re.findall(r"\.\. autosummary::\n(?:   :.*\n)+\n((?:   \w+\n)+)", text)
        for name in block.split()
    ]
    assert sorted(names) == sorted(dir(convlens))


def test_the_page_of_result_classes_lists_every_class(tmp_path):
    page = extension("result_classes").write_page(tmp_path)
    listed = re.findall(r"^   ~([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(f"{path}.{name}" for name, path in CONVLENS_CLASSES.items())


@pytest.fixture(scope="module")
def texts_of_sources():
    """All texts of the source code, one after the other, without what f-strings insert."""
    texts = []
    for path in sorted((TESTS.parent / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part for part in node.values if isinstance(part, ast.Constant)]
                texts.append("\0".join(str(part.value) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


@pytest.mark.parametrize("message", MESSAGES)
def test_convlens_writes_the_messages_that_are_explained(message, texts_of_sources):
    # What stands between names in capitals, numbers and omissions
    parts = re.split(r"\b[A-Z]{2,}\b|\b[A-Z]\b|…|'|\d+|;", message)
    longest = max(parts, key=len).strip(" :,[]")
    assert len(longest) >= 12, message
    assert longest in texts_of_sources


def test_every_page_is_in_a_table_of_contents():
    tables = "\n".join(
        match[0]
        for page in DOCS.rglob("*.rst")
        for match in re.finditer(r"\.\. toctree::\n(?:   .*\n|\n)+", page.read_text("utf-8"))
    )
    for page in DOCS.glob("*.md"):
        assert re.search(rf"^   (\.\./)?{page.stem}$", tables, re.MULTILINE), page.name
