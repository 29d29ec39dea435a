"""The public names of convlens: listed once, imported when used, and known to type checkers."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import assert_type

import pytest
import torch

import convlens
from convlens.analyses.gradcam.result import GradCam

STUB = Path(convlens.__file__).with_suffix(".pyi")


def listed_names() -> list[str]:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return sorted(alias.name for node in imports for alias in node.names)


def test_every_listed_name_can_be_imported() -> None:
    names = listed_names()
    assert len(names) > 40
    assert sorted(dir(convlens)) == names
    for name in names:
        assert getattr(convlens, name).__name__ == name


def test_importing_convlens_imports_no_torch() -> None:
    code = "import sys, convlens; dir(convlens); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "convlens" in modules
    assert not modules & {"torch", "numpy", "PIL", "matplotlib", "typer"}


def test_a_misspelled_name_is_answered_with_the_nearest_names() -> None:
    message = r"module 'convlens' has no attribute 'gradcan'; nearest: gradcam, gradcams"
    with pytest.raises(AttributeError, match=message) as raised:
        # The type checker knows that there is no such name, or it would call the comment unused.
        convlens.gradcan  # type: ignore[attr-defined] # noqa: B018
    assert raised.value.name == "gradcan"


def test_type_checkers_know_the_types_of_public_names() -> None:
    """Checked by mypy over this file; at run time `assert_type` does nothing."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2)
    )
    model = assert_type(convlens.wrap(network, size=8), convlens.Model)
    assert_type(convlens.gradcam(model, torch.rand(1, 3, 8, 8)), GradCam)
    assert_type(convlens.__version__, str)


@pytest.mark.parametrize("start", ["-m convlens", "-c from\tconvlens.cli\timport\tmain;main()"])
def test_every_way_to_start_prints_the_version(start: str) -> None:
    words = [word.replace("\t", " ") for word in start.split(" ")]
    done = subprocess.run(
        [sys.executable, *words, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"convlens {convlens.__version__}\n"
