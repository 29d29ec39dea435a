"""The wheel: its files, and a page by the command that an empty environment installs from it."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.folders import TESTS

pytestmark = pytest.mark.slow

ROOT = TESTS.parent


def run(*words: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    # The environment must not lead back to the sources.
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_requirement(text: str) -> tuple[str, str]:
    """Name, in its only form, and versions of a requirement."""
    requirement = Requirement(text)
    return canonicalize_name(requirement.name), str(requirement.specifier)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT,
        cwd=folder,
    )  # fmt: skip
    (path,) = folder.glob("convlens-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """An environment that holds the wheel and nothing else.

    Its dependencies are those that are installed here, because PyTorch takes gigabytes. They are
    found by a path file, which does not lead to the sources as this environment's own ones do.
    """
    folder = wheel.parent / "environment"
    run(sys.executable, "-m", "venv", folder, cwd=wheel.parent)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=wheel.parent)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    listed = run("git", "ls-files", "src/convlens", cwd=ROOT).splitlines()
    files = {name.removeprefix("src/") for name in listed if (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as archive:
        assert files <= set(archive.namelist())
        assert len(files) > 300


def test_the_wheel_asks_for_the_declared_dependencies(wheel: Path) -> None:
    # The test below takes them from the environment of the tests, whatever the wheel asks for.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(name))
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert set(map(read_requirement, required)) == set(
        map(read_requirement, project["dependencies"])
    )
    assert set(metadata.get_all("Provides-Extra")) == set(project["optional-dependencies"])


def test_the_page_is_made_in_an_empty_environment(environment: Path) -> None:
    folder = environment.parent
    place = run(
        environment / "bin" / "python", "-c", "import convlens; print(convlens.__file__)",
        cwd=folder,
    )  # fmt: skip
    assert Path(place.strip()).is_relative_to(environment)
    run(environment / "bin" / "convlens", "report", "--out", "page", "--quiet", cwd=folder)
    text = (folder / "page" / "index.html").read_text(encoding="utf-8")
    assert "EfficientNet-Lite0" in text and "</html>" in text
