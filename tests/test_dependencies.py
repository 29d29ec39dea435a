"""The dependencies in pyproject.toml are what the code imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

from support.folders import TESTS

ROOT = TESTS.parent
SOURCES = ROOT / "src" / "convlens"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Of these extras users install what they use; the others are for people who change the code.
EXTRAS = ("demo", "train", "parquet", "ray", "explore")
# A package that is checked for when its option is given, and that no extra brings.
ON_REQUEST = {"tensorboard"}
# Packages that only an extra brings and that are imported as soon as such a module is imported.
WHOLE_PACKAGES = {"explorer": "explore"}


class Import(NamedTuple):
    """The import of a distribution; `delayed` in a function or for type checks alone."""

    module: Path
    distribution: str
    delayed: bool


def plain(name: str) -> str:
    """The form of a distribution's name in which equal names are equal."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ;]", name)[0]).lower()


def declared(*extras: str) -> set[str]:
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return {plain(line) for line in lines}


def imported_packages(tree: ast.AST, delayed: bool = False) -> Iterator[tuple[str, bool]]:
    """Top-level names that a module imports, and whether only inside functions or type checks."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], delayed) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0], delayed
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        yield from imported_packages(node, delayed or later)


@cache
def imports() -> tuple[Import, ...]:
    """All imports of installed distributions in the package."""
    distributions = packages_distributions()
    return tuple(
        Import(path.relative_to(SOURCES), plain(distributions[name][0]), delayed)
        for path in sorted(SOURCES.rglob("*.py"))
        for name, delayed in imported_packages(ast.parse(path.read_text(encoding="utf-8")))
        if name not in sys.stdlib_module_names and name != "convlens"
    )


def test_everything_that_is_imported_is_declared() -> None:
    allowed = declared(*EXTRAS) | ON_REQUEST
    assert {row for row in imports() if row.distribution not in allowed} == set()


def test_modules_are_imported_without_the_extras() -> None:
    for row in imports():
        extra = WHOLE_PACKAGES.get(row.module.parts[0])
        allowed = declared(extra) if extra else declared()
        assert row.delayed or row.distribution in allowed, row


def test_every_dependency_is_imported() -> None:
    assert declared() <= {row.distribution for row in imports()}
