"""The command line, run in this process in a folder with a small network of one's own."""

import sys

import pytest
from PIL import Image

from convlens.cli import main

TINY = """
import torch
from torch import nn
import convlens


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )


def tiny():
    return convlens.wrap(network(), size=32, labels=["ant", "bee", "cat", "dog"])


def dense():
    return convlens.wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), size=32)


def masks():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 1))


def broken():
    broken_network = network()
    with torch.no_grad():
        broken_network[4].bias[2] = float("nan")
    return broken_network
"""

MINE = "python:mine.py:tiny"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a small network of one's own in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TINY)
    Image.effect_noise((40, 50), 60).convert("RGB").save(tmp_path / "a.png")
    Image.effect_noise((64, 48), 60).convert("RGB").save(tmp_path / "b.png")
    return tmp_path


@pytest.fixture
def convlens(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "400")  # so that each row of a table is one line

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["convlens", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return run


def one_line(answer):
    status, out, err = answer
    assert status == 2
    assert out == ""
    assert err.startswith("convlens: ")
    assert err.count("\n") == 1
    return err
