"""Parquet on the command line: what the commands give for the same files, and their errors."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest

from convlens.cli import main
from support.parquet_tables import KINDS, struct, write

pytest_plugins = "support.parquet_tables"
pytestmark = pytest.mark.usefixtures("empty_caches")

TINY = """
import torch
from torch import nn
import convlens


def tiny():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )
    return convlens.wrap(network, size=32, labels=["ant", "bee", "cat", "dog"])
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TINY)
    return tmp_path


@pytest.fixture
def run(here, monkeypatch, capsys):
    def command(*arguments, status=0):
        words = ["convlens", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, err
        return out, err

    return command


def commands(here):
    with (here / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class"])
        writer.writerows((f"{number:02d}.png", ["ant", "bee"][number % 2]) for number in range(22))
    with (here / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "left", "top", "right", "bottom"])
        writer.writerow(["03.png", "cat", 2, 2, 30, 30])
    labels = ("--labels", "labels.csv")
    return {
        "patches": (*labels, "--show", 2),
        "gradcam": ("--boxes", "boxes.csv"),
        "fgsm": (*labels, "--epsilons", "4/255", "--pgd-steps", 0, "--show", 3),
        "shift": labels,
        "selectivity": labels,
    }


@pytest.mark.parametrize(
    "command",
    [
        "patches", "fgsm",
        pytest.param("gradcam", marks=pytest.mark.slow),
        pytest.param("shift", marks=pytest.mark.slow),
        pytest.param("selectivity", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_commands_give_what_they_give_for_files(run, here, files, command):
    write(here / "tables" / "1.parquet", {"image": struct(files[:9]), "other": struct(files[:9])})
    write(
        here / "tables" / "2.parquet", {"image": struct(files[9:]), "other": struct(files[9:])}, 5
    )
    options = (*commands(here)[command], "--model", "python:mine.py:tiny", "--json", "--quiet")
    expected, _ = run(command, "photos", "--out", "a", *options)
    result, _ = run(command, "tables/*.parquet", "--out", "b", "--column", "other", *options)
    (here / "list.txt").write_text("\n".join(f"photos/{path.name}" for path in files))
    listed, _ = run(command, "list.txt", "--out", "c", *options)
    numbers = [plainly(json.loads(text)) for text in (expected, result, listed)]
    for document in numbers:
        assert document.pop("convlens")["command"].startswith(f"convlens {command} ")
    assert numbers[0] == numbers[1] == numbers[2]
    names = {sorted_files(here / out) for out in "abc"}
    assert len(names) == 1
    if command == "fgsm":
        assert {"00.png", "07.png", "15.png", "curve"} <= {
            Path(name).parts[0] for name in names.pop()
        }


def sorted_files(folder):
    return tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))


def plainly(value):
    """Without folders in front of photos' names."""
    if isinstance(value, dict):
        return {Path(key).name: plainly(entry) for key, entry in value.items() if key != "folder"}
    if isinstance(value, list):
        return [plainly(entry) for entry in value]
    if isinstance(value, str) and ".png" in value:
        return re.sub(r"\S*/(?=\d\d\.png)", "", value)
    return value


def test_errors_of_the_command_line(run, here, files):
    write(here / "mixed" / "1.parquet", KINDS["struct"](files[:2]))
    (here / "mixed" / "a.png").write_bytes(files[0].read_bytes())
    tiny = ("--model", "python:mine.py:tiny", "--quiet")
    readers = "which patches, gradcam, fgsm, shift and selectivity read"
    for arguments, words in (
        (("patches", "mixed", *tiny), "is a Parquet file and mixed/a.png is not; give one"),
        (("fgsm", "mixed/1.parquet", "photos", *tiny), "a Parquet file and photos/00.png is not"),
        (("shift", "photos", "--column", "x", *tiny), "--column x is an option of Parquet files"),
        (("gradcam", "mixed/1.parquet", "--column", "x", *tiny), "has no column 'x': img (struct)"),
        (("report", "mixed/1.parquet", *tiny), readers),
        (("doctor", "mixed/1.parquet", *tiny), readers),
        (("cortex", "mixed/1.parquet"), readers),
        (("patches", "none.parquet", *tiny), "none.parquet does not exist"),
    ):  # fmt: skip
        _, err = run(*arguments, status=2)
        assert err.count("\n") == 1 and words in err, err
