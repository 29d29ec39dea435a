"""Sentences and pictures of the page that depend on what was measured."""

import re
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

import convlens
from convlens.html.templates import environment
from convlens.page import sections
from convlens.page.photo_statistics import count_flips
from support.pages import tiny

pytest_plugins = "support.pages"


def page_of(section, tmp_path, photos, monkeypatch, model):
    monkeypatch.setattr(sections, "SECTIONS", (section,))
    report = convlens.report(model, photos, out=tmp_path / "page")
    return report, report.page.read_text(encoding="utf-8")


def test_patches_are_those_of_photos_on_which_the_channel_fires(tmp_path, photos, monkeypatch):
    model = tiny()
    with torch.no_grad():
        model.network[2].weight.zero_()
        model.network[2].bias.fill_(0.5)
        model.network[2].bias[3] = -1
    report, text = page_of("channels", tmp_path, photos, monkeypatch, model)
    layer = report.sections["channels"].patches["2"]
    assert 3 not in [entry.channel for entry in layer.shown if entry.photos]
    assert all(f'id="{address}"' in text for address in report.sections["channels"].addresses)
    assert "1 never fires (3)." in text and "None never" not in text


def test_every_channel_that_fires_is_said_plainly(tmp_path, photos, monkeypatch):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    for values in network[0].parameters():
        nn.init.ones_(values)
    model = convlens.wrap(network, size=32, name="bright", mean=(0,), std=(1,))
    _, text = page_of("channels", tmp_path, photos, monkeypatch, model)
    assert "Each fires on at least one photo." in text


def test_the_drawing_of_the_network_fits_the_page_or_scrolls(tmp_path, photos, monkeypatch):
    _, text = page_of("network", tmp_path, photos, monkeypatch, tiny())
    (drawing,) = re.findall(r"<svg[^>]*layers from the image[^>]*>", text)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
    assert f'style="--wide: {round(width)}"' in drawing and " width=" not in drawing


def test_names_of_layers_break_behind_dots():
    template = environment("convlens.html").from_string("{{ name|breakable }}")
    assert template.render(name="blocks.1.<b>") == "blocks.<wbr>1.<wbr>&lt;b&gt;"


def test_examples_of_flips_are_predictions_that_become_wrong():
    def card(photo: int, name: str, confidence: float) -> SimpleNamespace:
        flips = SimpleNamespace(
            levels=(1,), predictions=torch.tensor([[photo + 1]]),
            original_predictions=torch.tensor([0]), noise_flipped=torch.tensor([[False]]),
        )  # fmt: skip
        flip = SimpleNamespace(level=1, name=name, confidence=confidence)
        return SimpleNamespace(photo=photo, flips=flips, flip=flip)

    cards = [card(0, "tiger cat", 0.9), card(1, "harmonica", 0.6), card(2, "bell cote", 0.7)]
    result: Any = SimpleNamespace(cards=cards)
    photos: list[Any] = [
        SimpleNamespace(expected_names=names)
        for names in (("tabby", "tiger cat"), ("tripod",), ("palace",))
    ]
    flips = count_flips(result, photos)
    assert flips is not None and flips.examples == [2, 1, 0]
    unlabeled: list[Any] = [SimpleNamespace(expected_names=())] * 3
    flips_without_labels = count_flips(result, unlabeled)
    assert flips_without_labels is not None and flips_without_labels.examples == [0, 2, 1]
