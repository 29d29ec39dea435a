"""Limits on accuracy are broken where the whole interval lies below them, and say so."""

import pytest
import torch
from torch import nn

import convlens
from convlens import CheckThresholds


class Brightness(nn.Module):
    """Ten classes by the brightness of the image: a logit falls with the distance to its own."""

    def forward(self, x):
        level = x.flatten(1).mean(1, keepdim=True) * 10 - 0.5
        return -5 * (level - torch.arange(10)).abs()


def photos(wrong, *, count=100):
    """Photos of ten brightnesses and labels, of which the first are wrong by five classes."""
    levels = torch.arange(count) % 10
    images = ((levels + 0.5) / 10)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    labels = [
        ((int(level) + 5 * (number < wrong)) % 10,) for number, level in enumerate(levels)
    ]  # fmt: skip
    return images, labels


def findings(wrong, limit, name):
    model = convlens.wrap(Brightness(), size=8)
    images, labels = photos(wrong)
    return convlens.check(model, images, labels, thresholds=CheckThresholds(**{name: limit}))


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        (0, "fine", "the whole interval lies above"),  # 96.3 to 100 %
        (8, "fine", "the limit lies inside the interval, about "),  # 85.0 to 95.9 %
        (16, "cannot tell", "the limit lies inside the interval, about "),  # 75.6 to 89.9 %
        (17, "cannot tell", "the limit lies inside the interval, about "),
        (25, "broken", "the whole interval lies below"),  # 65.7 to 82.5 %
    ],
)
def test_the_interval_of_the_accuracy_decides(wrong, status, words):
    finding = findings(wrong, 0.89, "accuracy")["accuracy"]
    assert finding.value == pytest.approx(1 - wrong / 100)
    assert finding.status == status, finding.sentence
    assert f"at least 89.0 % is required: {words}" in finding.sentence


def test_the_interval_of_the_right_class_among_five_decides():
    for wrong, status in ((2, "cannot tell"), (40, "broken")):
        finding = findings(wrong, 0.99, "top5")["among the first five"]
        assert finding.status == status, finding.sentence


@pytest.mark.parametrize(
    ("wrong", "status", "below"),
    [(0, "fine", 0), (30, "cannot tell", 0), (100, "broken", 10)],
)
def test_the_interval_of_the_least_accurate_class_decides(wrong, status, below):
    # Each class has ten photos: 7 right are 39.7 to 89.2 %, none right are 0 to 27.8 %.
    finding = findings(wrong, 0.72, "class_accuracy")["accuracy of each class"]
    assert finding.status == status, finding.sentence
    assert f"of 10 classes, {below} with the whole interval below 72.0 %" in finding.sentence
