"""The guides in Markdown: their commands have these options, and their Python code runs."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import convlens
from convlens.cli.app import app
from convlens.models.loading.specs import DESCRIPTION
from support.site import DOCS, fenced_blocks

pytest_plugins = "support.pages"

README = DOCS.parent / "README.md"
COMMAND_LINE = DOCS / "command-line.md"
GUIDES = [README, *sorted(DOCS.glob("*.md"))]
OVERVIEW = max(fenced_blocks(COMMAND_LINE), key=len)  # a command and what it does on each line
COMMANDS = [
    pytest.param(line, id=f"{page.stem}: {line.partition('#')[0].strip()}")
    for page in GUIDES
    for block in fenced_blocks(page)
    if block != OVERVIEW
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("convlens ")
]
# Whole guides whose code needs a cluster, or a training.
ELSEWHERE = {"architecture", "scale", "training"}
CODE = [page for page in GUIDES if fenced_blocks(page, "python") and page.stem not in ELSEWHERE]


def noise(height: int, width: int, seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the guides assume."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("cat.jpg", "dog.jpg", "photo.jpg", "street.jpg")):
        noise(240, 250, number).save(tmp_path / name)
    for name in ("photos/cat", "photos/dog", "new-photos", "run", "runs/a", "runs/b"):
        (tmp_path / name).mkdir(parents=True)
        if name.startswith("run"):
            (tmp_path / name / DESCRIPTION).touch()
    noise(60, 70, 4).save(tmp_path / "photos" / "cat" / "1.png")
    noise(60, 70, 5).save(tmp_path / "photos" / "dog" / "2.png")
    for name in ("weights.safetensors", "old.pt", "new.pt", "boxes.csv"):
        (tmp_path / name).touch()
    (tmp_path / "labels.csv").write_text("file,class\n1.png,0\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    importlib.import_module("convlens.cli.commands")  # adds them to the application
    group: Any = typer.main.get_command(app)
    return group.commands


def list_anchors(page: Path) -> list[str]:
    """The anchors of the headings of a Markdown file, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_have_these_options(line: str, folder: Path, commands: dict[str, Any]) -> None:
    words = shlex.split(line.partition(" | ")[0], comments=True)
    commands[words[1]].make_context(words[1], words[2:])


def test_the_overview_lists_every_command_with_its_options(commands: dict[str, Any]) -> None:
    listed = [line.split()[1] for line in OVERVIEW.splitlines()]
    assert set(listed) == set(commands)
    for name, line in zip(listed, OVERVIEW.splitlines(), strict=True):
        options = {option for parameter in commands[name].params for option in parameter.opts}
        usage = line.partition("   ")[0]
        assert options >= set(re.findall(r"--[a-z-]+", usage)), line


def test_the_readme_stays_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    "page", [*GUIDES, *README.parent.glob("C*.md")], ids=lambda page: page.name
)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        if not name.startswith("http"):
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in list_anchors(target), link


@pytest.mark.slow
@pytest.mark.usefixtures("less_work")
@pytest.mark.filterwarnings("default")  # networks with random weights say so
@pytest.mark.parametrize("page", CODE, ids=lambda page: page.stem)
def test_python_code_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = convlens.load()
    names: dict[str, Any] = {
        "convlens": convlens, "model": model, "images": model.prepare(["cat.jpg", "dog.jpg"])
    }  # fmt: skip
    for block in fenced_blocks(page, "python"):
        # Without a connection: what counts is that the calls exist.
        code = block.replace('"torchvision:resnet18"', '"torchvision:resnet18@random"')
        exec(compile(code, str(page), "exec"), names)
