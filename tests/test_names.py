"""Variables, parameters and functions of the package have names that say what they hold."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import convlens

ROOT = Path(convlens.__file__).parent
EMPTY_NAMES = frozenset({
    "found", "given", "kept", "look", "made", "one", "own", "rest", "said", "stuff", "theirs",
    "thing", "things", "told", "wanted", "what", "which",
})  # fmt: skip


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the name of everything that a module's code gives a name to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.lineno, node.name


def test_names_say_what_they_hold() -> None:
    empty = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sorted(ROOT.rglob("*.py"))
        for line, name in defined_names(ast.parse(path.read_text(encoding="utf-8")))
        if name.strip("_") in EMPTY_NAMES
    ]
    assert not empty


def test_the_name_of_a_class_is_that_of_one_class() -> None:
    modules = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in modules.items() if len(paths) > 1}
