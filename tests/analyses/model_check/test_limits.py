"""Limits that are left out, and the agreement of models with other bounds of pixels."""

import re

import pytest
import torch
from torch import nn

import convlens
from convlens import CheckThresholds


def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    with torch.no_grad():
        layers[0].bias[:4] = -100  # four dead channels of six
        layers[4].weight.mul_(40)
    return layers


def images(count=40):
    generator = torch.Generator().manual_seed(1)
    grain = torch.rand(count, 3, 8, 8, generator=generator)
    return grain * torch.rand(count, 3, 1, 1, generator=generator)


def test_no_limit_is_never_broken():
    model = convlens.wrap(network(), size=8)
    other = network()
    with torch.no_grad():
        other[4].bias[0] += 1000
    limits = CheckThresholds(dead_channels=None, agreement=None)
    against = convlens.wrap(other, size=8)
    result = convlens.check(model, images(), thresholds=limits, against=against)
    usual = convlens.check(model, images(), against=against)
    for name in ("dead channels", "agreement"):
        assert (result[name].status, usual[name].status) == ("fine", "broken")
        assert result[name].value == usual[name].value
        assert result[name].limit is None
    assert result["dead channels"].value == pytest.approx(4 / 6)


@pytest.mark.parametrize(("differing", "status"), [(0, "fine"), (1, "cannot tell"), (8, "broken")])
def test_a_single_photo_that_differs_does_not_break_the_agreement(differing, status):
    model = convlens.wrap(network(), size=8)
    batch = images()
    other = _Exchange(batch[:differing], network())
    result = convlens.check(model, batch, against=convlens.wrap(other, size=8))
    assert result["agreement"].value == pytest.approx(1 - differing / 40)
    assert result["agreement"].status == status
    assert ("would decide" in result["agreement"].sentence) == (status == "cannot tell")
    strict = CheckThresholds(agreement=1.0)
    perfect = convlens.check(model, batch, against=convlens.wrap(other, size=8), thresholds=strict)
    assert (perfect["agreement"].status == "broken") == (differing > 0)


def test_models_with_other_bounds_are_given_the_same_images():
    model = convlens.wrap(network(), size=8)
    scaled = nn.Sequential(_Divided(), network())
    against = convlens.wrap(scaled, size=8, bounds=(0, 255))
    result = convlens.check(model, images(), against=against)
    assert result["agreement"].status == "fine"
    assert result["agreement"].value == 1.0
    difference = re.search(r"differ by at most (\S+)", result["agreement"].sentence)
    assert difference is not None and float(difference[1]) < 1e-5, result["agreement"].sentence


class _Exchange(nn.Module):
    """A network whose logits are reversed for some images that it knows."""

    def __init__(self, known, layers):
        super().__init__()
        self.layers = layers
        self.register_buffer("known", known.flatten(1))

    def forward(self, x):
        distances = (x.flatten(1)[:, None] - self.known[None]).abs().sum(dim=2)
        is_known = (distances < 1e-4).any(dim=1, keepdim=True)
        logits = self.layers(x)
        return torch.where(is_known, -logits, logits)


class _Divided(nn.Module):
    def forward(self, x):
        return x / 255
