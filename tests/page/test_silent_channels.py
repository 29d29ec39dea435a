"""Channels that never fire: their finding, its picture, and their numbers beside their layer."""

import re

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.patches.pictures import FRAME, draw_strengths
from convlens.page import sections

pytest_plugins = "support.pages"


def test_each_channel_is_a_pixel_and_silent_ones_are_red():
    strongest = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, -1.0, 1e9])
    pixels = draw_strengths(strongest, (0, 5)).reshape(-1, 3).tolist()
    assert len(pixels) == 9  # rows of three
    assert [at for at, color in enumerate(pixels) if color == list(FRAME)] == [0, 5]
    grays = [pixels[at][0] for at in (1, 2, 3, 4, 6)]
    assert grays == sorted(grays) and grays[-1] == 255
    assert pixels[7] == pixels[8] == [128, 128, 128]


def test_a_layer_in_which_nothing_fires_is_all_red():
    assert draw_strengths(torch.zeros(4), range(4)).reshape(-1, 3).unique(dim=0).tolist() == [
        list(FRAME)
    ]


@pytest.fixture
def written(tmp_path, photos, monkeypatch):
    """A page about a network in which channels 1 and 3 of its only layer never fire."""
    layer = nn.Conv2d(3, 5, 3)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, -100.0, 1.0, -100.0, 1.0]))
    network = nn.Sequential(
        layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    )
    monkeypatch.setattr(sections, "SECTIONS", ("channels",))
    return convlens.report(convlens.wrap(network, size=32), photos, out=tmp_path / "page")


def test_the_finding_leads_to_the_layer_and_has_a_picture(written):
    (finding,) = [finding for finding in written.findings if finding.section == "channels"]
    assert finding.examples == ("channels-0",)
    text = written.page.read_text("utf-8")
    row = next(row for row in text.split("<li") if "never fire on these 3 photos" in row)
    assert re.search(r'<a href="#channels-0"><img [^>]*alt="[^"]*never fire in red"', row)
    assert '<h3 id="channels-0">' in text
    assert "2 never fire (1, 3)." in text
