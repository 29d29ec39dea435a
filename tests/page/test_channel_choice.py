"""The channels that a page shows do not depend on the photos."""

from typing import Any, cast

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.maximize import stored_ascent
from convlens.cache.folder import FOLDER_VARIABLE
from convlens.page import sections
from support.pages import save_noise

pytest_plugins = "support.pages"


@pytest.fixture
def network():
    """A network with one layer of 26 channels."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 26, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(26, 2)
    )


@pytest.mark.usefixtures("less_work")
def test_a_second_page_shows_the_same_channels_and_reads_their_images(
    network, tmp_path, monkeypatch
):
    ascents = []
    ascend = stored_ascent.ascend

    def count(model, tasks, *arguments):
        ascents.append(len(tasks))
        return ascend(model, tasks, *arguments)

    monkeypatch.setattr(stored_ascent, "ascend", count)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(sections, "SECTIONS", ("channels",))
    photos, shown = save_noise(tmp_path / "photos"), []
    for number, others in enumerate((photos[:2], photos[1:])):
        out = tmp_path / f"page{number}"
        page = convlens.report(convlens.wrap(network, size=32), others, out=out)
        (layer,) = cast(Any, page.sections["channels"]).patches.layers
        shown.append([entry.channel for entry in layer.shown])
    assert shown == [[0, 2, 4, 6, 8, 10, 13, 15, 17, 19, 21, 23]] * 2
    assert ascents == [12]
