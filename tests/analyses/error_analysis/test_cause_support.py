"""Causes of errors beside right predictions: what supports a cause, and what cannot be told."""

from math import comb

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.analyses.error_analysis.causes import (
    BACKGROUND,
    MEASURED,
    OFF_CENTER,
    PREPROCESSING,
    ChangedPredictions,
    count_causes,
)
from convlens.analyses.error_analysis.evidence import UNEXPLAINED, UNSTABLE
from convlens.analyses.error_analysis.views import SHIFT
from convlens.analyses.gradcam.boxes import ObjectBox

SIZE = 16


class Brightness(nn.Module):
    """Class 1 where red, and class 0 where blue, is brighter."""

    def __init__(self, *, gradients=True, pool=torch.amax):
        super().__init__()
        self.pool = pool
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.conv.weight.data.copy_(torch.tensor([[0.0, 0, 3], [3, 0, 0]])[:, :, None, None])
        self.gradients = gradients

    def forward(self, x):
        with torch.set_grad_enabled(self.gradients and torch.is_grad_enabled()):
            return self.pool(self.conv(x).relu(), (2, 3))


def test_a_network_without_gradients_keeps_all_other_evidence():
    torch.manual_seed(0)
    images = torch.rand(24, 3, SIZE, SIZE)
    model = convlens.wrap(Brightness(gradients=False), size=SIZE)
    right = [(number % 2,) for number in range(24)]
    result = convlens.error_analysis(model, images, right)
    assert result.errors > 4
    assert len(result.causes.evidence) == result.errors
    assert all(evidence.flip_level is None for evidence in result.causes.evidence)
    names = [cause.name for cause in result.causes.causes]
    assert UNSTABLE not in names
    assert OFF_CENTER in names
    assert result.causes.attack_failure
    assert any("FGSM was not tried" in words for words in result.causes.explanations())
    supported = {cause.name for cause in result.causes.causes if cause.supported}
    for evidence in result.causes.evidence:
        own = [name for name in evidence.causes if name in supported] or [UNEXPLAINED]
        assert result.causes.describe(evidence).startswith(", ".join(own))
    with_gradients = convlens.error_analysis(
        convlens.wrap(Brightness(), size=SIZE), images, right
    ).causes
    assert UNSTABLE in [cause.name for cause in with_gradients.causes]
    assert not with_gradients.attack_failure
    (unstable,) = [cause for cause in with_gradients.causes if cause.name == UNSTABLE]
    flipped = next(own for own in with_gradients.evidence if own.flip_level is not None)
    assert "after a change by" in flipped.summary()
    assert ("after a change by" in with_gradients.describe(flipped)) == bool(unstable.supported)
    for without, flippable in zip(result.causes.evidence, with_gradients.evidence, strict=True):
        assert without.right_views == flippable.right_views


def changed(right_views, *, right):
    """Photos of which some are right in all of eight shifted views, the others in none."""
    views = {SHIFT: [("shifted",) * 8 * is_right for is_right in right_views]}
    count = len(right_views)
    return ChangedPredictions(views, {SHIFT: 8}, [()] * count, [1 if right else None] * count)


@pytest.mark.parametrize(
    ("errors", "applied", "controls", "turned", "supported"),
    [
        (30, 10, 30, 0, True),
        (30, 10, 30, 9, False),
        (30, 30, 30, 30, False),
        (30, 0, 30, 0, False),
        (12, 1, 12, 8, False),
        (2, 2, 2, 0, None),  # 1 / 6 of all ways to choose two of four
        (30, 2, 30, 0, None),
        (3, 3, 0, 0, None),
        (1, 1, 20, 0, True),  # 1 / 21
    ],
)
def test_a_cause_is_supported_refuted_or_undecided(errors, applied, controls, turned, supported):
    causes = [(OFF_CENTER,) if row < applied else ("unexplained",) for row in range(errors)]
    counted = count_causes(
        causes,
        changed([row < applied for row in range(errors)], right=False),
        changed([row >= turned for row in range(controls)], right=False),
        outside=[None] * errors,
        control_outside=[None] * controls,
    )
    (cause,) = [cause for cause in counted if cause.name == OFF_CENTER]
    assert cause.supported is supported
    assert (cause.applies.count, cause.control.count) == (applied, turned)
    assert cause.explained.count == (applied if supported else 0)
    ways = comb(errors + controls, applied + turned)
    p_value = sum(
        comb(errors, k) * comb(controls, applied + turned - k)
        for k in range(applied, min(errors, applied + turned) + 1)
    ) / ways  # fmt: skip
    assert (p_value < 0.05) == (supported is True)
    words = cause.explanation()
    if supported is None:
        assert f"{applied} of {errors}" in words
        assert "too few to tell" in words
    elif applied:
        assert words.endswith(MEASURED[OFF_CENTER] if supported else "hardly less often")
    else:
        assert not words


@pytest.mark.parametrize("right_use_background", [False, True])
def test_right_predictions_that_use_the_background_too_refute_it(tmp_path, right_use_background):
    pixels = np.full((SIZE, SIZE, 3), 40, np.uint8)
    pixels[:, :8] = (200, 40, 90)  # red on the left: class 1
    boxes, paths, right = {}, [], []
    for number in range(14):
        paths.append(tmp_path / f"{number:02d}.png")
        Image.fromarray(pixels).save(paths[-1])
        is_error = number < 6
        outside = is_error or right_use_background
        if number not in (5, 13):  # without a box there is nothing to measure
            left = 8 if outside else 0
            boxes[paths[-1].name] = (ObjectBox((1,), left, 0, left + 8, SIZE),)
        right.append((0 if is_error else 1,))
    model = convlens.wrap(Brightness(pool=torch.mean), size=SIZE)
    result = convlens.error_analysis(model, paths, right, boxes=boxes)
    (cause,) = [cause for cause in result.causes.causes if cause.name == BACKGROUND]
    assert (cause.applies.count, cause.applies.total) == (5, 5)
    assert cause.control.total == 5  # as many right predictions as errors, or one fewer
    assert cause.control.count == 5 * right_use_background
    assert cause.supported is not right_use_background
    assert cause.explained.count == 5 * (not right_use_background)
    without = convlens.error_analysis(model, paths, right).causes
    assert BACKGROUND not in [cause.name for cause in without.causes]


def test_errors_of_a_wrong_resize_are_explained_by_the_preprocessing(tmp_path):
    paths, right = [], []
    for number in range(24):
        pixels = np.full((SIZE, 3 * SIZE, 3), 8 + number, np.uint8)
        pixels[..., 2] = 40
        if number % 2:
            pixels[:, : SIZE // 2, 0] = 255  # outside of the square in the middle
        paths.append(tmp_path / f"{number:02d}.png")
        Image.fromarray(pixels).save(paths[-1])
        right.append((number % 2,))
    model = convlens.wrap(Brightness(), size=SIZE, resize=SIZE)
    result = convlens.error_analysis(model, paths, right)
    assert result.errors == 12
    assert result.causes.diagnosis.verdict == "mistake"
    assert result.causes.diagnosis.variants[1].name.startswith("squashed")
    (cause,) = [cause for cause in result.causes.causes if cause.name == PREPROCESSING]
    assert cause.explained.count == 12
