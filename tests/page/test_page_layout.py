"""The layout of sections: explanations beside figures, tables with their number of rows, folds."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import convlens
from convlens.page import sections
from convlens.page.report import report
from convlens.page.sections.channels import FEW

pytest_plugins = "support.pages"

EXPLAINED = ("robustness", "shift", "channels", "dream", "filters", "network", "effective_field")


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    """The page of a small network, without the section on photos."""
    from PIL import Image

    folder: Path = tmp_path_factory.mktemp("layout")
    torch.manual_seed(0)
    paths = []
    for number in range(3):
        pixels = torch.randint(0, 256, (20, 20, 3), dtype=torch.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels.numpy()).save(paths[-1])
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU6(), nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "SECTIONS", (*EXPLAINED, "preprocessing"))
        written = report(convlens.wrap(network, size=20), paths, out=folder / "page")
    return written.page.read_text("utf-8")


def section(text: str, name: str) -> str:
    return text.partition(f'<section id="{name}"')[2].partition('<section id="')[0]


def test_every_section_explains_its_figure(text):
    for name in (*EXPLAINED, "preprocessing"):
        body = section(text, name)
        assert '<div class="explained">' in body, name
        figure, explanation = body.split('<details class="explanation">')[:2]
        assert "<img" in figure or "<table" in figure or "<svg" in figure, name
        assert len(re.sub("<[^>]*>", "", explanation.split("</details>")[0]).split()) > 20, name


def test_tables_state_their_number_of_rows(text):
    tables = re.findall(
        r'<span class="number-of-rows">(\d+) \w+</span>.*?<tbody>(.*?)</tbody>', text, re.DOTALL
    )
    assert len(tables) >= 5
    for count, body in tables:
        assert int(count) == body.count("<tr")
    assert text.count("<table") == len(tables)


def test_a_few_channels_are_shown_and_the_others_are_in_a_fold(text):
    first = section(text, "channels").split('class="layer"')[1]
    shown, folded = first.split('<details class="more">')
    assert shown.count("<li id=") == FEW
    more = re.match(r"<summary>(\d+) more channels</summary>", folded)
    assert more and int(more[1]) == folded.split("</details>")[0].count("<li id=")


def test_channels_at_the_limit_of_their_nonlinearity_say_so(tmp_path, photos, monkeypatch):
    """All channels of the layer reach 6, the greatest value that ReLU6 returns."""
    layer = nn.Conv2d(3, 4, 3)
    nn.init.constant_(layer.bias, 100.0)
    network = nn.Sequential(
        layer, nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    monkeypatch.setattr(sections, "SECTIONS", ("channels",))
    written = report(convlens.wrap(network, size=32), photos, out=tmp_path / "page")
    words = re.sub("<[^>]*>", "", section(written.page.read_text("utf-8"), "channels"))
    assert "strongest 6 (ReLU6’s limit) · fires on all photos" in words
