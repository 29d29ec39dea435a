"""Specs of models, taken apart without torch."""

import pytest

from convlens.errors import ConvlensError
from convlens.models.loading.specs import DESCRIPTION, WEIGHTS, Spec, parse_spec


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a weight file, two of Python code and the folder of a training."""
    monkeypatch.chdir(tmp_path)
    for name in ("epoch=3.ckpt", "at@home.pth", "weights", "nets.py", f"run/{DESCRIPTION}"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "run" / "step-5").mkdir()
    (tmp_path / "resnet18").mkdir()
    (tmp_path / "run" / "step-5" / WEIGHTS).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "form", "reference", "architecture"),
    [
        ("default", "default", "", None),
        ("resnet50", "name", "resnet50", None),
        ("resnet50@random", "name", "resnet50@random", None),
        ("timm:resnet18.a1_in1k", "timm", "resnet18.a1_in1k", None),
        ("epoch=3.ckpt", "file", "epoch=3.ckpt", None),
        ("file:epoch=3.ckpt", "file", "epoch=3.ckpt", None),
        ("weights", "file", "weights", None),
        ("at@home.pth", "file", "at@home.pth", None),
        ("at@home.pth@timm:resnet18@a1_in1k", "file", "at@home.pth", "timm:resnet18@a1_in1k"),
        ("weights@resnet18", "file", "weights", "resnet18"),
        ("weights@python:nets.py:make", "file", "weights", "python:nets.py:make"),
        ("nets.py:make", "python", "nets.py:make", None),
        ("python:package.nets:make", "python", "package.nets:make", None),
        ("run", "run", "run", None),
        ("run@last", "run", "run@last", None),
        ("resnet18", "name", "resnet18", None),  # although there is such a folder
    ],
)
def test_specs_are_taken_apart_by_their_form(text, form, reference, architecture, here):
    assert parse_spec(text) == Spec(form, reference, architecture)


def test_a_checkpoint_in_the_folder_of_a_training(here):
    assert parse_spec(f"run/step-5/{WEIGHTS}") == Spec("run", f"{here / 'run'}@step-5")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch=4.ckpt", "there is no file epoch=4.ckpt; nearest: epoch=3.ckpt"),
        ("runs/a", "there is no file runs/a"),
        ("missing.pth@resnet18", "there is no file missing.pth"),
        ("file:run", "run is a folder; give the file with the weights in it"),
        ("nets.py", "nets.py is Python code; give nets.py:FACTORY"),
        ("net.py:make", "there is no file net.py; nearest: nets.py"),
    ],
)
def test_what_does_not_exist(text, says, here):
    with pytest.raises(ConvlensError) as error:
        parse_spec(text)
    assert str(error.value).startswith(says)
