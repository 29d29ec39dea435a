"""The docstring of a package that lists its files lists each of them, and no others."""

import ast
import re
from pathlib import Path

import pytest

import convlens

ROOT = Path(convlens.__file__).parent
LISTED = re.compile(r"^([a-z_0-9]+(?:\.py|/)) +\S", re.MULTILINE)


def listed_files(package: Path) -> list[str]:
    """The names of files and folders at the beginning of lines of the package's docstring."""
    module = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    return LISTED.findall(ast.get_docstring(module) or "")


def files_of(package: Path) -> set[str]:
    """The names of the modules of a package, and of its packages with a slash."""
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    return modules | {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}


PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py") if listed_files(path.parent))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_list_the_files_of_their_packages(package: Path) -> None:
    listed = listed_files(package)
    assert len(listed) == len(set(listed))
    assert set(listed) == files_of(package)


def test_packages_with_many_files_list_them() -> None:
    packages = [path.parent for path in ROOT.rglob("__init__.py")]
    unlisted = {
        str(package.relative_to(ROOT))
        for package in packages
        if package not in PACKAGES and len(files_of(package)) > 8
    }
    # The files of these are named after commands, pages and sections.
    named = {"cli/commands", "cli/show", "explorer/pages", "page/sections"}
    assert unlisted <= named | {"."}
