"""Saved results that are damaged or hostile are refused in one line."""

import dataclasses
import json
from typing import Any

import pytest

import convlens
from convlens.files import RESULT
from convlens.passes.proportion import Proportion
from convlens.results import Result
from convlens.results.registry import CONVLENS_CLASSES, find_result_class
from convlens.results.validation import field_types, has_type
from support.labeled_model import model
from support.public_functions import CALLS


@pytest.fixture
def damage(tmp_path):
    """Save a result, change its JSON, load it again and return the message of the error."""

    def run(change, result=None):
        result = result or Proportion.from_counts(3, 4)
        folder = tmp_path / "saved"
        result.save(folder)
        data = json.loads((folder / RESULT).read_text())
        text = change if isinstance(change, str) else json.dumps(change(data) or data)
        (folder / RESULT).write_text(text)
        with pytest.raises(convlens.ConvlensError) as error:
            Result.load(folder)
        message = str(error.value)
        assert "\n" not in message
        assert message.startswith(f"the result in {folder} ")
        return message

    return run


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "5", '"text"', "{}", '{"format": 2}', '{"format": "2"}',
        '{"format": null, "result": 1}', '{"format": 2, "result": 7}',
        '{"format": 2, "result": {"class": 5, "fields": {}}}',
        '{"format": 2, "result": {"class": "Proportion", "fields": {}}}',
        '{"format": 2, "result": {"class": "Proportion", "fields": []}}',
        '{"format": 2, "result": {"class": ["Proportion"], "fields": {}}}',
        '{"format": 2, "result": {"class": "Nothing", "module": 5, "fields": {}}}',
        '{"format": 2, "result": {"dict": {"class": 1}}}',
        '{"format": 2, "result": {"float": []}}',
        '{"format": 1e400, "result": {}}',
        '{"format": 2, "result": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"format": 2, "result": {"class": "Proportion", "fields": {"count": {"tensor": "x"}}}}',
        '{"format": 2, "result": {"class": "Proportion", "fields": {"count": ' + "9" * 5000 + "}}}",
    ],
)  # fmt: skip
def test_text_that_is_no_result(damage, text):
    damage(text)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("count", "3", "count of Proportion is a str, not int"),
        ("count", True, "count of Proportion is a bool"),
        ("count", None, "count of Proportion is a NoneType"),
        ("count", 3.0, "count of Proportion is a float"),
        ("count", -1, "count of Proportion is out of range"),
        ("total", 10**30, "total of Proportion is out of range"),
        ("total", {"dict": {}}, "total of Proportion is a dict"),
        ("total", {"what": 1}, "an object of an unknown kind"),
        ("more", 1, "has no field 'more'"),
    ],
)
def test_fields_of_another_type_or_range(damage, field, value, words):
    def change(data):
        data["result"]["fields"][field] = value

    assert words in damage(change)


def test_a_missing_field_is_named(damage):
    def change(data):
        del data["result"]["fields"]["total"]

    assert "the field total of Proportion is missing" in damage(change)


def test_a_field_of_another_type_is_named(damage):
    check = CALLS["fgsm"](model())
    values = {"count": 1, "total": 2, "share": 0.5, "low": 0.1, "high": 0.9}
    proportion = {"class": "Proportion", "fields": values}
    for field, value in [
        ("logits", 1.0),
        ("epsilons", {"dict": {}}),
        ("epsilons", ["a"]),
        ("bounds", [0.0]),
        ("loss", 5),
        ("diagnostics", [proportion]),
    ]:

        def change(data, field=field, value=value):
            data["result"]["fields"][field] = value

        assert f"the field {field} of Fgsm is a" in damage(change, check)


@pytest.mark.parametrize("hint", [Any, dict[str, Any], "a name that is nowhere"])
def test_unknown_types_take_every_value(hint):
    assert has_type({"key": (1, "text", None)}, hint)


def test_shares_are_between_0_and_1(damage):
    result = CALLS["gradcam"](model())
    result.probabilities[0, 0] = 7.0
    assert "probabilities of GradCam is out of range" in damage(lambda data: None, result)


@pytest.mark.parametrize("name", sorted(CONVLENS_CLASSES))
def test_the_types_of_all_fields_are_known(name):
    cls = find_result_class(name, None)
    assert field_types(cls).keys() >= {field.name for field in dataclasses.fields(cls)}
