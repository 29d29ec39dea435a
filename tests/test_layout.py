"""The layout: packages import only from rows below their own, and nothing imports in a circle.

Read from the import statements of all modules: at their top, inside functions and under
`TYPE_CHECKING`. The table is the one of docs/architecture.md.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import convlens
from convlens.results.registry import CONVLENS_CLASSES

ROOT = Path(convlens.__file__).parent

# A package imports only from rows below its own. The interfaces, in the first row, do not import
# each other; what `cli` may import from the other two is checked by a test of its own.
ROWS = (
    ("__main__",),
    ("cli",),
    ("explorer", "page", "textbook"),
    ("analyses", "training"),
    ("passes",),
    ("capture",),
    ("tracing",),
    ("models",),
    ("results",),
    ("html",),
    ("data",),
    ("drawing",),
    ("runtime",),
    ("cache",),
    ("files", "wording", "arithmetic", "__init__"),
    ("claims",),
    ("errors",),
    ("text",),
)
ROW_OF = {package: number for number, row in enumerate(ROWS) for package in row}
INTERFACES = ("cli", "explorer", "page", "textbook")

Graph = dict[str, set[str]]


def name_of(path: Path) -> str:
    """The dotted name of a module without `convlens.`; `__init__` is its last part in packages."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@cache
def modules() -> frozenset[str]:
    return frozenset(name_of(path) for path in ROOT.rglob("*.py"))


@cache
def public_names() -> dict[str, str]:
    """The module of each public name."""
    tree = ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: resolve(node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def resolve(name: str) -> str:
    """A dotted name without `convlens.` as the name of a module; a package is its `__init__`."""
    for module in (name, f"{name}.__init__".lstrip(".")):
        if module in modules():
            return module
    raise AssertionError(f"convlens.{name} is imported and does not exist")


def imported_names(module: str) -> Iterator[tuple[str, str | None]]:
    """The modules that a module names in its imports, each with the attribute that it takes."""
    tree = ast.parse((ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "convlens":
                    yield alias.name.partition(".")[2], None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            if node.module and node.module.partition(".")[0] == "convlens":
                for alias in node.names:
                    yield node.module.partition(".")[2], alias.name
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "convlens"
            and node.attr in public_names()
        ):
            yield "", node.attr


def is_module(name: str) -> bool:
    return name in modules() or f"{name}.__init__" in modules()


def targets(module: str) -> set[str]:
    """The modules that a module imports, without those that import it as a part of themselves."""
    imported = set()
    for name, attribute in imported_names(module):
        whole = f"{name}.{attribute}".lstrip(".")
        if attribute and is_module(whole):
            imported.add(resolve(whole))
        elif not name and attribute in public_names():
            imported |= {public_names()[attribute], "__init__"}
        else:
            imported.add(resolve(name))
    own = set(packages_of(module))
    # To import a module runs its packages first.
    imported |= {package for target in imported for package in packages_of(target)} - own
    return imported - {module}


def packages_of(module: str) -> list[str]:
    """The `__init__` of each package that a module lies in, but for that of convlens itself."""
    parts = module.split(".")[:-1]
    return [".".join([*parts[: end + 1], "__init__"]) for end in range(len(parts))]


@cache
def imports() -> Mapping[str, frozenset[str]]:
    return {module: frozenset(targets(module)) for module in modules()}


def top(module: str) -> str:
    return module.partition(".")[0]


def find_cycle(graph: Mapping[str, set[str] | frozenset[str]]) -> list[str]:
    """A cycle of a graph as a list of its nodes, or an empty list."""
    done: set[str] = set()
    path: list[str] = []

    def visit(node: str) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        path.append(node)
        for target in sorted(graph.get(node, ())):
            if cycle := visit(target):
                return cycle
        path.pop()
        done.add(node)
        return []

    for node in sorted(graph):
        if cycle := visit(node):
            return cycle
    return []


def children_graph(package: str) -> Graph:
    """Imports between the direct children of a package, with subpackages as wholes."""
    depth = len(package.split(".")) if package else 0
    prefix = f"{package}." if package else ""
    graph: Graph = {}
    for module, imported in imports().items():
        if not module.startswith(prefix):
            continue
        child = module.split(".")[depth]
        graph.setdefault(child, set())
        graph[child] |= {
            target.split(".")[depth] for target in imported if target.startswith(prefix)
        } - {child}
    return graph


def package_names() -> list[str]:
    return sorted(
        module.removesuffix("__init__").rstrip(".")
        for module in modules()
        if module.rpartition(".")[2] == "__init__"
    )


def test_every_package_has_a_row() -> None:
    assert {top(module) for module in modules()} <= ROW_OF.keys()


def test_no_module_imports_itself_in_a_circle() -> None:
    assert find_cycle(imports()) == []


@pytest.mark.parametrize("package", package_names())
def test_the_parts_of_a_package_do_not_import_each_other_in_a_circle(package: str) -> None:
    assert find_cycle(children_graph(package)) == []


def test_packages_import_only_from_rows_below() -> None:
    upward = sorted(
        f"{module} imports {target}"
        for module, imported in imports().items()
        for target in imported
        if top(module) != top(target) and ROW_OF[top(module)] >= ROW_OF[top(target)]
    )
    assert upward == []


def test_no_interface_imports_another() -> None:
    """Except that the command line calls the public functions of the other two.

    It may also name the classes of their results.
    """
    wrong = []
    for module in modules():
        for name, attribute in imported_names(module):
            other = top(name)
            if other in INTERFACES and top(module) in INTERFACES and other != top(module):
                allowed = public_names() | {
                    cls: resolve(home.partition(".")[2]) for cls, home in CONVLENS_CLASSES.items()
                }
                public = allowed.get(attribute or "") == resolve(name)
                if top(module) != "cli" or not public:
                    wrong.append(f"{module} imports {attribute} from {name}")
    assert sorted(wrong) == []


def test_passes_know_no_analysis() -> None:
    below = {
        target
        for module, imported in imports().items()
        if top(module) == "passes"
        for target in imported
    }
    assert not {target for target in below if top(target) in ("analyses", "training")}


def test_a_cycle_is_found() -> None:
    """Or the tests above would pass on anything."""
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert len(modules()) > 150
    assert "errors" in imports()["files"]
    assert "models.model" in imports()["passes.job"]
