"""Responses to gratings in the disk cache."""

from typing import Any

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.orientation_tuning import orientation_tuning as module
from convlens.cache.entries import list_entries


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The runs of networks on gratings, while a cache is in use."""
    counted: list[int] = []
    stream_nodes = module.stream_nodes

    def stream(model, trace, images, nodes, callback):
        counted.append(len(images))
        stream_nodes(model, trace, images, nodes, callback)

    monkeypatch.setattr(module, "stream_nodes", stream)
    monkeypatch.setenv("CONVLENS_CACHE", str(tmp_path / "cache"))
    with convlens.disk_cache():
        yield counted


def tune(model, **options: Any):
    settings: dict[str, Any] = {"orientations": 3, "phases": 4, "frequencies": (0.1, 0.2)}
    return convlens.orientation_tuning(model, **(settings | options))


def image_model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    return convlens.wrap(network, size=16)


def test_responses_from_the_cache_equal_those_that_were_recorded(runs, tmp_path):
    first = tune(image_model())
    assert runs
    runs.clear()
    assert tune(image_model()) == first  # of another object with the same weights
    assert not runs
    kinds = [entry.kind for entry in list_entries(tmp_path / "cache")]
    assert kinds.count("orientation-tuning") == 1


@pytest.mark.parametrize(
    "options",
    [{"layer": "2"}, {"orientations": 4}, {"phases": 5}, {"frequencies": (0.1, 0.3)},
     {"contrast": 0.5}],
    ids=str,
)  # fmt: skip
def test_other_options_record_again(runs, options):
    tune(image_model())
    runs.clear()
    tune(image_model(), **options)
    assert runs


def test_other_weights_record_again(runs):
    model = image_model()
    first = tune(model)
    runs.clear()
    with torch.no_grad():
        model.network[0].weight.mul_(2)
        model.network[0].bias.mul_(2)
    again = tune(model)
    assert runs
    torch.testing.assert_close(again.responses, 2 * first.responses)
