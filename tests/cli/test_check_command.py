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
