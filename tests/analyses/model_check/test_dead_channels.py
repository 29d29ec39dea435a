"""The finding about dead channels: counted by hooks on the same photos, and free for few photos."""

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.model_check import network_findings

SIZE = 8


def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(5, 2),
    )  # fmt: skip
    with torch.no_grad():
        network[0].bias[:2] = -100  # dead
        network[2].bias[0] = -100
    return convlens.wrap(network.eval(), size=SIZE)


def test_dead_channels_are_those_of_hooks():
    checked, images = model(), torch.rand(40, 3, SIZE, SIZE)
    shares = {}
    for number in (1, 3):
        with torch.no_grad():
            maps = checked.network[: number + 1](checked.normalize(images))
        shares[str(number - 1)] = float((maps.amax((0, 2, 3)) <= 0).float().mean())
    finding = convlens.check(checked, images)["dead channels"]
    assert finding.value == pytest.approx(max(shares.values()))
    assert f"most in {max(shares, key=shares.get)} " in finding.sentence
    assert "of 11 channels are above 0 at no position of 40 photos" in finding.sentence


def test_few_photos_are_not_run(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the pass is run for nothing")

    monkeypatch.setattr(network_findings, "run_reducer", refuse)
    finding = convlens.check(model(), torch.rand(4, 3, SIZE, SIZE))["dead channels"]
    assert finding.sentence == "4 photos are too few to tell; give at least 32"
