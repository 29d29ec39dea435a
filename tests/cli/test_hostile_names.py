"""Names from outside in every command: of photos, folders, classes, layers and networks.

Such a name must not change what a terminal shows, forge a line of output, become a formula in a
spreadsheet or markup on a page, or lead out of the folder of results.
"""

import csv
import json
import unicodedata
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from convlens.cli import commands  # noqa: F401 # adds them to the app
from convlens.cli.app import app
from convlens.text import read_csv_text

pytest_plugins = "support.command_line"

FORGED = "  fine  all good"
ESCAPE = "\x1b[31m"
PHOTOS = [
    f"bad{ESCAPE}\n{FORGED}\n.png",
    "=1+1.png",
    "crop[final].png",
    "<b>\u202ex.png",
    "$^{.png",
]
MORE = [f"[{number}].png" for number in range(5)]
FEW = [f"photos/{name}" for name in PHOTOS[:2]]
LAYER = f"[bold]{ESCAPE}\n{FORGED}\n<script>alert(1)</script>$^{{"
CLASSES = [f"=cmd|x{ESCAPE}\n{FORGED}", "[/nope] :cat:", "<script>alert(1)</script>", "$\\frac{"]

NETWORK = f"""
import torch
import convlens
from torch import nn

LAYER = {LAYER!r}
CLASSES = {CLASSES!r}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.add_module(LAYER, nn.Conv2d(3, 6, 3, padding=1))
        self.relu, self.fc = nn.ReLU(), nn.Linear(6, 4)

    def forward(self, images):
        maps = self.relu(self._modules[LAYER](images))
        return self.fc(maps.mean((2, 3)))


def hostile():
    return convlens.wrap(Network().eval(), size=16, labels=CLASSES, name="net" + LAYER)


def changed():
    network = Network().eval()
    network.fc.weight.data *= -1
    network._modules[LAYER].weight.data[1, 0, 0, 0] += 1
    return convlens.wrap(network, size=16, labels=CLASSES, name="net" + LAYER)
"""

MODEL = ("--model", "python:hostile.py:hostile")
LAYER_OPTION = ("--layer", LAYER)
COMMANDS: dict[str, list[Any]] = {
    "report": [*FEW, *MODEL, "--labels", "labels.csv", "--boxes", "boxes.csv"],
    "doctor": ["photos", *MODEL, "--labels", "labels.csv"],
    "check": ["photos", *MODEL, "--labels", "labels.csv", "--junit", "junit.xml"],
    "errors": ["photos", *MODEL, "--labels", "labels.csv", "--boxes", "boxes.csv",
               "--examine", 2],
    "gradcam": [*FEW, *MODEL, "--boxes", "boxes.csv", "--deletion-insertion",
                "--randomize", "--channels", 2],
    "fgsm": [*FEW, *MODEL, "--labels", "labels.csv", "--epsilons", "8/255", "--pgd-steps", 1,
             "--internal-changes"],
    "shift": ["photos", *MODEL, "--labels", "labels.csv", "--shifts", 1, "--every", 0],
    "diff": ["python:hostile.py:hostile", "python:hostile.py:changed", "photos", "--labels",
             "labels.csv", "--part", "gradcam", "--part", "channels", "--part", "filters"],
    "patches": ["photos", *MODEL, "--labels", "labels.csv", "--show", 2],
    "selectivity": ["photos", *MODEL, *LAYER_OPTION, "--labels", "labels.csv"],
    "maximize": [*MODEL, "--channel", f"{LAYER}:1", "--class", CLASSES[0], "--steps", 2],
    "dream": [f"photos/{PHOTOS[0]}", *MODEL, *LAYER_OPTION, "--octaves", 1, "--steps", 1],
    "filters": [*MODEL, *LAYER_OPTION, "--sort"],
    "tuning": [*MODEL, "--layer", "relu", "--orientations", 2, "--phases", 4],
    "maps": [f"photos/{PHOTOS[0]}", *MODEL, *LAYER_OPTION],
    "cortex": [f"photos/{PHOTOS[0]}", "--size", 16],
    "anatomy": [*MODEL, "--draw", "network.svg"],
    "field": [f"photos/{PHOTOS[0]}", *MODEL, *LAYER_OPTION],
    "effective-field": ["photos", *MODEL],
    "models": [f"{ESCAPE}\n{FORGED}"],
    "train": ["classes", "--epochs", 1, "--batch", 4],
    "image": [f"photos/{PHOTOS[0]}", *MODEL],
    "detector": [f"photos/{PHOTOS[0]}", *MODEL],
    "translation": [f"photos/{PHOTOS[0]}", "--size", 8, "--shift", "0,2"],
    "learn-filters": [*FEW, "--kernel", 3, "--filters", 2, "--steps", 2,
                      "--null-size", 100],
}  # fmt: skip
# Commands to which no photo and no layer is given.
NO_NAMES = {"cache", "chapter", "convolution", "gabor", "layer", "pooling", "window"}
SERVERS = {"explore"}  # names on its pages: tests/explorer
WITHOUT_OUTPUT = ("doctor", "anatomy", "models")
ONCE = ("report", "gradcam", "patches", "selectivity", "models")  # not with --json too
# Commands that take seconds. Their names go through the same functions as those of the others.
LONG = ("report", "errors", "diff", "fgsm", "train", "learn-filters", "image", "detector")


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A folder with a network, photos, labels, boxes and class folders that have such names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.py").write_text(NETWORK, encoding="utf-8")
    (tmp_path / "photos").mkdir()
    for name in [*PHOTOS, *MORE]:
        Image.effect_noise((16, 16), 60).convert("RGB").save(tmp_path / "photos" / name)
    (tmp_path / "photos" / f"zero{ESCAPE}.png").touch()
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        names = [*PHOTOS, *MORE, f"no{ESCAPE}.png"]
        rows = [[name, number % 2] for number, name in enumerate(names)]
        csv.writer(file).writerows([["file", "class"], *rows])
    with (tmp_path / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[name, number % 4, 1, 1, 9, 9] for number, name in enumerate(PHOTOS)]
        columns = ["file", "class", "left", "top", "right", "bottom"]
        csv.writer(file).writerows([columns, *rows])
    for number, label in enumerate((f"=a{ESCAPE}\n{FORGED}", "[/b]")):
        for photo in range(6):
            path = tmp_path / "classes" / label / f"{photo}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 40 * photo + number).save(path)
    return tmp_path


def check_printable(text, allowed="\n", *, may_wrap=False):
    wrong = {
        char
        for char in text
        if char not in allowed and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
    assert not wrong
    forged = [line for line in text.splitlines() if line.strip().startswith(FORGED.strip())]
    assert may_wrap or not forged


def check_files(folder):
    """Check the names and the contents of all files in a folder of results."""
    for path in folder.rglob("*"):
        check_printable(str(path.relative_to(folder)), allowed="")
        if path.suffix == ".json":
            text = path.read_text(encoding="utf-8")
            assert json.loads(text) is not None
            check_printable(text)
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.reader(file):
                    for cell in row:
                        check_printable(cell, allowed="")
                        assert cell[:1] not in ("=", "+", "@")
                        assert not cell.startswith("-") or float(cell) < 0
        elif path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            check_printable(text, "\n\t", may_wrap=True)  # a page shows no line breaks
            assert "<script>alert" not in text


def test_no_command_is_missing():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {name.replace("_", "-") for name in names} == COMMANDS.keys() | NO_NAMES | SERVERS


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in COMMANDS],
)
def test_names_are_shown_as_text(hostile, convlens, name):
    words = [name, *COMMANDS[name]]
    if name not in WITHOUT_OUTPUT:
        words += ["--out", hostile / "out"]
    status, out, err = convlens(*words)
    assert status == 0 or (name, status) == ("check", 1), err  # 1: something is broken
    check_printable(out)
    check_printable(err)
    if name not in ONCE:
        overwrite = [] if name in ("doctor", "train") else ["--overwrite"]
        json_status, out, _ = convlens(*words, "--json", *overwrite)
        assert json_status == status
        assert json.loads(out) is not None
        check_printable(out)
    if name not in WITHOUT_OUTPUT:
        check_files(hostile / "out")
    elif (hostile / "network.svg").exists():
        ElementTree.parse(hostile / "network.svg")  # control characters are no XML
        check_printable((hostile / "network.svg").read_text(encoding="utf-8"))
    assert sorted(path.name for path in hostile.iterdir() if path.name.startswith(".")) == []


def test_the_numbers_of_a_table_are_found_again(hostile, convlens):
    assert convlens("gradcam", "photos", *MODEL, "--out", "out")[0] == 0
    with (hostile / "out" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert "=1+1.png" in [read_csv_text(row["photo"]) for row in rows]
    (hostile / "again.csv").write_text("file,class\n'=1+1.png,'=cmd|1\n'=1+1.png,1\n")
    status, _, err = convlens("fgsm", "photos", *MODEL, "--labels", "again.csv", "--out", "o")
    assert (status, err.count("\n")) == (2, 1)  # '=cmd is no class; the file is found
    assert "unknown class '=cmd'" in err


@pytest.mark.parametrize(
    "words",
    [
        ["gradcam", f"photos/no{ESCAPE}\n{FORGED}.png"],
        ["gradcam", "photos", *MODEL, "--class", f"no{ESCAPE}\n{FORGED}"],
        ["gradcam", "photos", *MODEL, "--layer", f"no{ESCAPE}\n{FORGED}"],
        ["anatomy", "--model", f"file:no{ESCAPE}\n{FORGED}.pt"],
        ["anatomy", "--model", f"timm:no{ESCAPE}\n{FORGED}"],
        [f"no{ESCAPE}\n{FORGED}"],
        ["anatomy", f"--no{ESCAPE}\n{FORGED}"],
        ["train", f"no{ESCAPE}\n{FORGED}"],
    ],
)
def test_errors_are_one_line(hostile, convlens, words):
    status, out, err = convlens(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    check_printable(err)
