"""The how-to pages: their Python code runs, and their commands have these options."""

import importlib
import shlex
import sys
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from convlens.cli.app import app
from support.site import DOCS, code_blocks

HOWTO = DOCS / "howto"
PAGES = sorted(path for path in HOWTO.glob("*.rst") if path.stem != "index")
# The files that the page on checkpoints writes, by name
FILES = {name: code for name, code in code_blocks(HOWTO / "checkpoint.rst", "python") if name}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that the pages assume: two classes of photos, a network and its weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    random = np.random.default_rng(0)
    for name in ("cat/1.png", "dog/2.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (80, 70, 3), dtype=np.uint8)).save(path)
    from nets import make_network  # type: ignore[import-not-found]

    torch.save(make_network().state_dict(), "weights.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n", encoding="utf-8")
    labels = dict(code_blocks(HOWTO / "dataset.rst", "text"))["labels.csv"]
    (tmp_path / "labels.csv").write_text(labels, encoding="utf-8")
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


# Training takes seconds.
PARAMETERS = [
    pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem == "training"))
    for page in PAGES
]


@pytest.mark.filterwarnings("default")  # random weights and missing names are part of the pages
@pytest.mark.parametrize("page", PARAMETERS)
def test_python_code_runs(page, folder):
    names: dict[str, Any] = {}
    blocks = code_blocks(page, "python")
    assert blocks
    for caption, code in blocks:
        if caption not in FILES:
            exec(compile(code, f"{page.name} {caption}", "exec"), names)
    for name, function in names.items():
        if name.startswith("test_"):
            function()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_have_these_options(page, folder):
    importlib.import_module("convlens.cli.commands")  # adds them to the application
    commands: Any = typer.main.get_command(app)
    for _, code in code_blocks(page, "text"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition(" | ")[0])
            if words[:1] == ["convlens"]:
                commands.commands[words[1]].make_context(words[1], words[2:])
