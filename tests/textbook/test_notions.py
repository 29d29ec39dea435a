"""The notions: their texts, and that commands and Python lines compute what the page shows."""

import ast
import importlib
import inspect
import shlex
from typing import Any

import pytest
import typer

import convlens as library
from convlens.cli.app import app
from convlens.html.figures import formula_svg
from convlens.models.loading.demo_photos import demo_photos
from convlens.textbook.notion import Materials
from convlens.textbook.notions import NOTIONS, SECTIONS

pytest_plugins = "support.command_line"

# Those that load, train and fit nothing, and so take no time.
CHEAP = [
    notion
    for notion in NOTIONS
    if not any(word in notion.python for word in ("load", "learn", "gabor"))
]


@pytest.fixture
def materials():
    return Materials({photo.path.stem: photo.path for photo in demo_photos()})


def run_lines(python):
    names = {}
    exec(f"import convlens\n{python}", names)
    return names["result"]


def test_names_are_unique_and_sections_are_in_the_order_of_the_chapter():
    names = [notion.name for notion in NOTIONS]
    assert len(set(names)) == len(names)
    sections = [notion.section for notion in NOTIONS]
    assert list(dict.fromkeys(sections)) == list(SECTIONS)
    assert sections == sorted(sections, key=lambda section: list(map(int, section.split("."))))


@pytest.mark.parametrize("notion", NOTIONS, ids=lambda notion: notion.name)
def test_paragraphs_end_in_a_full_stop_and_formulas_can_be_drawn(notion):
    assert all(paragraph.endswith(".") for paragraph in notion.text)
    if notion.formula:
        assert "<path" in formula_svg(notion.formula, "formula")


@pytest.mark.parametrize("notion", CHEAP, ids=lambda notion: notion.name)
def test_command_and_python_lines_compute_what_is_shown(notion, materials, here, convlens):
    shown = notion.compute(materials)
    assert run_lines(materials.python(notion.python)) == shown
    status, _, _ = convlens(*shlex.split(materials.words(notion.command)), "--out", "saved")
    assert status == 0
    assert library.Result.load("saved") == shown


@pytest.mark.parametrize("notion", NOTIONS, ids=lambda notion: notion.name)
def test_commands_and_calls_have_these_arguments(notion, materials, here):
    importlib.import_module("convlens.cli.commands")  # adds them to the application
    name, *words = shlex.split(materials.words(notion.command))
    commands: Any = typer.main.get_command(app)
    commands.commands[name].make_context(name, words)
    for node in ast.walk(ast.parse(materials.python(notion.python))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("convlens."):
            function = getattr(library, ast.unparse(node.func).removeprefix("convlens."))
            arguments: Any = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(function).bind(*node.args, **arguments)
