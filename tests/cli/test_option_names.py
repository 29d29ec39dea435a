"""An option of a command and the parameter of the function that it calls have one name."""

import ast
from pathlib import Path

import pytest
import typer.main

import convlens.cli.commands
from convlens.cli.app import app

COMMANDS = Path(convlens.cli.commands.__file__).parent
# Options that stand for several values are written once for each, so they have the singular.
PLURALS = {
    "layers": "layer", "channels": "channel", "shifts": "shift", "phases": "phase",
    "wavelengths": "wavelength", "parts": "part",
}  # fmt: skip
# Options that decide whether a parameter of another name gets a value.
SWITCHES = {"labels": "no_labels", "on_message": "quiet", "notify": "quiet"}
# Names that Python or the function of the command cannot have.
SPELLED_DIFFERENTLY = {"classes": "class", "values": "map", "with_": "with"}


def find_renamed(path):
    """The parameters of calls in a command that take an option of another name."""
    for function in ast.parse(path.read_text("utf-8")).body:
        if not (isinstance(function, ast.FunctionDef) and function.decorator_list):
            continue
        options = {argument.arg for argument in function.args.args} - {"arguments"}
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            called = ast.unparse(call.func).rpartition(".")[2]
            if called.startswith("show_") or called == "replace":
                continue  # prints what the command computed; names a second model
            for keyword in call.keywords:
                names = {
                    node.id if isinstance(node, ast.Name) else node.attr
                    for node in ast.walk(keyword.value)
                    if isinstance(node, ast.Name)
                    or (isinstance(node, ast.Attribute) and ast.unparse(node.value) == "arguments")
                } & (options | {"device", "seed", "json", "quiet", "strict", "size"})
                arg = str(keyword.arg)
                if names and not names & {arg, PLURALS.get(arg), SWITCHES.get(arg)}:
                    yield f"{path.stem}: {ast.unparse(call.func)}({ast.unparse(keyword)})"


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_command_hands_on_its_options_by_their_names(path):
    assert list(find_renamed(path)) == []


def test_another_name_is_found(tmp_path):
    path = tmp_path / "attack.py"
    path.write_text("@app.command()\ndef attack(pgd: int): run(steps=pgd, pgd=pgd)\n")
    assert list(find_renamed(path)) == ["attack: run(steps=pgd)"]


def test_options_are_spelled_like_their_parameters():
    group = typer.main.get_group(app)
    for name, command in group.commands.items():
        for parameter in command.params:
            if parameter.param_type_name != "option" or parameter.name in ("help", "version"):
                continue
            spelled = SPELLED_DIFFERENTLY.get(parameter.name, parameter.name.replace("_", "-"))
            assert parameter.opts[0] == f"--{spelled}", f"{name} {parameter.opts[0]}"
