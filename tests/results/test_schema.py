"""The JSON Schema of the numbers, and the numbers that commands write and print."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import torch

from convlens.analyses.attacks.photo_result import PhotoFlip
from convlens.cli import commands  # noqa: F401 # adds them to the app
from convlens.cli.app import app
from convlens.results.description import to_plain_data
from convlens.results.numbers import numbers_of
from convlens.results.registry import CONVLENS_CLASSES
from convlens.results.schema import describe_fields, json_schema
from support.command_line import MINE

pytest_plugins = "support.command_line"


@pytest.fixture(scope="module")
def schema():
    return json_schema()


@pytest.fixture(scope="module")
def validator(schema):
    # jsonschema.validate checks the schema itself each time, which takes most of a second.
    return jsonschema.Draft202012Validator(schema)


def test_it_is_a_schema_in_which_every_reference_leads_somewhere(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    for name in text.split('"$ref": "#/$defs/')[1:]:
        assert name.partition('"')[0] in schema["$defs"]


def test_every_field_of_every_class_is_described(schema):
    for name in CONVLENS_CLASSES:
        for field, properties in schema["$defs"][name]["properties"].items():
            assert properties.get("description"), f"{name}.{field} is in no docstring"


def test_docs_name_the_class_of_every_command():
    text = (Path(__file__).parents[2] / "docs" / "numbers.md").read_text(encoding="utf-8")
    rows = text.split("| command | class |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`.*?) \|", rows, re.M)
    names = {name for cell in cells for name in re.findall(r"`([\w-]+)", cell)}
    registered = {command.name or command.callback.__name__ for command in app.registered_commands}
    without_numbers = {"cache", "explore", "models"}
    assert {name.replace("_", "-") for name in registered} - without_numbers <= names
    classes = set(re.findall(r"`([A-Z]\w+)`", rows))
    assert classes <= CONVLENS_CLASSES.keys()


def test_descriptions_are_those_of_the_docstring():
    class Example:
        """An example.

        Attributes:
            first: one line.
            second: two
                lines: with a colon.

        Example:
            >>> third: 1
        """

    assert describe_fields(Example) == {"first": "one line.", "second": "two lines: with a colon."}


COMMANDS = {
    "cortex": ("cortex", "a.png", "--size", "24", "--wavelength", "4"),
    "field": ("field", "a.png", "--layer", "0"),
    "maps": ("maps", "a.png", "--layer", "0"),
    "tuning": ("tuning", "--layer", "0", "--orientations", "3", "--phases", "4"),
    "filters": ("filters",),
    "maximize": ("maximize", "--channel", "0:1", "--steps", "2", "--image-size", "32"),
    "dream": ("dream", "a.png", "--layer", "0", "--steps", "1", "--octaves", "1"),
    "patches": ("patches", "a.png", "b.png", "--layer", "0", "--show", "2"),
    "shift": ("shift", "a.png", "b.png", "--every", "0"),
    "effective-field": ("effective-field", "a.png"),
    "gradcam": ("gradcam", "a.png", "b.png"),
    "fgsm": ("fgsm", "a.png", "b.png", "--pgd-steps", "1", "--epsilons", "8/255"),
    "selectivity": ("selectivity", "more", "--labels", "labels.csv"),
    "errors": ("errors", "more", "--labels", "labels.csv"),
    "anatomy": ("anatomy",),
    "doctor": ("doctor", "a.png", "b.png"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_output_of_commands_follows_the_schema(here, convlens, validator, name):
    (here / "more").mkdir()
    for number in range(10):
        (here / "more" / f"{number}.png").write_bytes((here / "a.png").read_bytes())
    rows = [f"{number}.png,{'ant' if number < 5 else 'bee'}" for number in range(10)]
    (here / "labels.csv").write_text("\n".join(["file,class", *rows]))
    words = [*COMMANDS[name], "--json", "--quiet"]
    words += [] if name == "cortex" else ["--model", MINE]
    has_folder = name not in ("anatomy", "doctor")
    status, out, err = convlens(*words, *(["--out", "results"] if has_folder else []))
    assert (status, err) == (0, "")
    printed = json.loads(out)
    validator.validate(printed)
    assert printed["convlens"]["class"] in CONVLENS_CLASSES
    assert printed["convlens"]["command"].startswith(f"convlens {name} ")
    assert printed["summary"], "a command's result has a summary"
    if has_folder:
        assert (here / "results" / "numbers.json").read_text(encoding="utf-8") == out
        assert (here / "results" / "index.html").is_file()


def test_wrong_numbers_do_not_follow_the_schema(validator):
    numbers = numbers_of(PhotoFlip(None, 16, "cat", False, True, 3))
    validator.validate(numbers)
    wrong = ({"level": "high"}, {"reverted": 1}, {"highest_level": 1.5}, {"summary": "text"})
    for changes in wrong:
        assert not validator.is_valid(numbers | changes), changes
    del numbers["level"]
    assert not validator.is_valid(numbers)


def test_small_tensors_are_values_and_large_ones_are_described(schema):
    validator = jsonschema.Draft202012Validator(
        schema["$defs"]["tensor"] | {"$defs": schema["$defs"]}
    )

    for tensor in (torch.tensor(2.0), torch.tensor([[1.0, float("nan")]]), torch.zeros(9, 9, 9)):
        validator.validate(to_plain_data(tensor, 64))
    assert not validator.is_valid({"shape": [1]})
