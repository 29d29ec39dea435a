"""Rules that the tests themselves follow."""

import ast

import pytest

from support.folders import TESTS

MODULES = sorted(TESTS.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_tests_import_public_names_and_no_other_test(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [alias.name for alias in node.names]
            if node.module.partition(".")[0] == "convlens":
                assert not [name for name in names if name.startswith("_") and name != "__all__"]
            assert not node.module.rpartition(".")[2].startswith("test_")
