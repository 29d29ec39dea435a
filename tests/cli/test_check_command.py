"""The exit statuses and files of the check command."""

import json
from xml.etree import ElementTree

import pytest
from PIL import Image

from support.command_line import one_line

pytest_plugins = "support.command_line"

COLORS = """
import torch
from torch import nn
import convlens


def colors():
    stem, head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 3, bias=False)
    stem.weight.data.copy_(300 * torch.eye(3)[:, :, None, None])
    head.weight.data.copy_(torch.eye(3))
    network = nn.Sequential(stem, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return convlens.wrap(network, size=16, labels=["red", "green", "blue"])
"""


@pytest.fixture
def colors(here):
    (here / "colors.py").write_text(COLORS)
    for number in range(24):
        kind = ("red", "green", "blue")[number % 3]
        color = tuple(200 if number % 3 == channel else 60 + number for channel in range(3))
        path = here / "photos" / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), color).save(path)
    return here


WORDS = ("check", "photos", "--model", "python:colors.py:colors")


def test_exit_status_0_and_1(colors, convlens):
    status, out, _ = convlens(*WORDS, "--accuracy", "0.9", "--junit", "fine.xml")
    assert status == 0, out
    assert "accuracy: 24 of 24" in out
    assert ElementTree.parse(colors / "fine.xml").getroot().attrib["failures"] == "0"
    rows = [f"{number}.png,{('green', 'blue', 'red')[number % 3]}" for number in range(24)]
    (colors / "labels.csv").write_text("\n".join(["file,class", *rows]))
    (colors / "limits.toml").write_text("accuracy = 0.9\n")
    words = (*WORDS, "--labels", "labels.csv", "--thresholds", "limits.toml", "--json")
    status, out, _ = convlens(*words, "--junit", "broken.xml")
    assert status == 1
    numbers = json.loads(out)
    broken = {each["name"] for each in numbers["findings"] if each["status"] == "broken"}
    assert {"accuracy", "label order"} <= broken
    failures = ElementTree.parse(colors / "broken.xml").getroot().findall(".//failure")
    assert len(failures) == len(broken)


def test_exit_status_2(colors, convlens):
    for words, says in (
        ((*WORDS, "--no-labels", "--accuracy", "0.5"), "a limit on accuracy needs labels"),
        ((*WORDS, "--accuracy", "70"), "--accuracy"),
        ((*WORDS, "--thresholds", "none.toml"), "cannot read none.toml"),
        ((*WORDS, "--against", "none.pt"), "none.pt"),
        (("check", "nothing", *WORDS[2:]), "nothing"),
    ):
        status, out, err = convlens(*words)
        assert status == 2, (words, out, err)
        assert says in one_line((status, out, err))


def test_a_folder_is_written_only_where_one_is_named(colors, convlens):
    before = {"__pycache__", *(path.name for path in colors.iterdir())}
    assert convlens(*WORDS, "--quiet")[0] == 0
    assert {path.name for path in colors.iterdir()} <= before
    status, out, _ = convlens(*WORDS, "--out", "out")
    assert status == 0
    assert "out/index.html" in out
    findings = json.loads((colors / "out" / "numbers.json").read_text())["findings"]
    assert {finding["name"] for finding in findings} >= {"preprocessing", "label order"}
    assert "give --overwrite" in one_line(convlens(*WORDS, "--out", "out"))
    assert convlens(*WORDS, "--out", "out", "--overwrite")[0] == 0
    assert "name it by --out" in one_line(convlens(*WORDS, "--resume"))


def test_parquet_files_give_the_same_findings(colors, convlens):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    paths = sorted(colors.glob("photos/*/*.png"))
    table = pyarrow.table({
        "image": [{"bytes": path.read_bytes(), "path": path.name} for path in paths],
    })  # fmt: skip
    parquet.write_table(table, colors / "photos.parquet")
    rows = [f"{path.name},{path.parent.name}" for path in paths]
    (colors / "labels.csv").write_text("\n".join(["file,class", *rows]))
    outputs = [
        convlens("check", source, *WORDS[2:], "--labels", "labels.csv", "--json")
        for source in ("photos", "photos.parquet")
    ]
    assert [status for status, _, _ in outputs] == [0, 0], outputs
    assert json.loads(outputs[0][1])["findings"] == json.loads(outputs[1][1])["findings"]
