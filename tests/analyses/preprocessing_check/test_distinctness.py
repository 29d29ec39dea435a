"""Distinctness against plain loops, and confidence alone as no evidence."""

import math

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.preprocessing_check.distinctness import distinctness
from convlens.models.output_head import SIGMOID, SOFTMAX

PHOTOS, CLASSES, SIZE = 4, 3, 8


def likeness(first, second, output_head):
    if output_head == SOFTMAX:
        p, q = first.softmax(0).tolist(), second.softmax(0).tolist()
        return sum(math.sqrt(a * b) for a, b in zip(p, q, strict=True))
    p, q = first.sigmoid().tolist(), second.sigmoid().tolist()
    both = [math.sqrt(a * b) + math.sqrt((1 - a) * (1 - b)) for a, b in zip(p, q, strict=True)]
    return sum(both) / len(both)


@pytest.mark.parametrize("output_head", [SOFTMAX, SIGMOID])
def test_distinctness_is_that_of_plain_loops(output_head):
    generator = torch.Generator().manual_seed(0)
    logits, mirrored = torch.randn(2, PHOTOS, CLASSES, generator=generator, dtype=torch.float64)
    own, others = [], []
    for photo in range(PHOTOS):
        for other in range(PHOTOS):
            pair = likeness(logits[photo], mirrored[other], output_head)
            (own if photo == other else others).append(pair)
    right = sum(own) / len(own) - sum(others) / len(others)
    assert distinctness(logits, mirrored, output_head) == pytest.approx(right)


def test_distinctness_at_its_ends():
    sure = torch.eye(4).double() * 100
    assert distinctness(sure, sure, SOFTMAX) == pytest.approx(1)
    assert distinctness(sure[:1].expand(4, 4), sure[:1].expand(4, 4), SOFTMAX) == 0
    assert distinctness(sure[:1], sure[:1], SOFTMAX) == 0


class Loud(nn.Module):
    """Gives every photo the same class, and is the surer of it the brighter the pixels are."""

    def forward(self, x):
        brightness = x.mean((1, 2, 3)).abs()
        return torch.stack([brightness, 0 * brightness, 0 * brightness], 1)


class Sighted(nn.Module):
    """Tells which third of the photo is brightest, and needs pixels of 0..255 to be sure."""

    def forward(self, x):
        return torch.stack([part.mean((1, 2, 3)) for part in x.chunk(3, 2)], 1)


def photos(count):
    images = torch.rand(count, 3, 9, SIZE, generator=torch.Generator().manual_seed(0)) * 0.5
    for number, image in enumerate(images):
        third = number % 3
        image[:, 3 * third : 3 * third + 3] += 0.5
    return images


@pytest.mark.slow
def test_confidence_of_one_class_for_all_photos_is_no_evidence():
    diagnosis = convlens.check_preprocessing(convlens.wrap(Loud(), size=(9, SIZE)), photos(12))
    best = diagnosis.variants[1]
    assert best.gain > 0.1
    assert best.p_value < 0.05
    assert best.distinctness < 0.01
    assert diagnosis.verdict == "cannot tell"
    assert "nearly the same for all 12 photos" in diagnosis.reason


def test_confidence_that_tells_photos_apart_is_evidence():
    diagnosis = convlens.check_preprocessing(convlens.wrap(Sighted(), size=(9, SIZE)), photos(12))
    # Of the 11 other photos, 3 have the same third.
    assert diagnosis.variants[1].distinctness == pytest.approx(1 - 3 / 11, abs=1e-3)
    assert diagnosis.verdict == "mistake"
    assert "0..255" in diagnosis.reason


def test_with_labels_there_is_no_distinctness():
    labels = [(number % 3,) for number in range(12)]
    model = convlens.wrap(Sighted(), size=(9, SIZE))
    diagnosis = convlens.check_preprocessing(model, photos(12), labels=labels)
    assert all(variant.distinctness is None for variant in diagnosis.variants)
    assert diagnosis.verdict == "mistake"
