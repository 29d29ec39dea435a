"""Calibration against torchmetrics, scikit-learn and optimization by scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from convlens.analyses.calibration import histogram as fine_histogram
from convlens.analyses.calibration.calibration_error import calibration_error
from convlens.analyses.calibration.result import summarize_calibration
from convlens.analyses.calibration.temperature import TEMPERATURES, fit_temperature, sum_losses


def predictions(count=400, classes=6, sharpness=2.0, seed=0):
    """Logits `(N, K)` and labels `(N,)` of a network that is overconfident if sharpness is > 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return sharpness * logits, labels


def histogram_of(logits, labels, bins):
    confidences, predicted = logits.softmax(1).max(dim=1)
    histogram = fine_histogram.empty_histogram(bins)
    fine_histogram.add_confidences(histogram, bins, confidences, predicted == labels)
    return histogram


def summarize(logits, labels, bins=15):
    right = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    return summarize_calibration(
        histogram_of(logits, labels, bins), bins, sum_losses(logits, right)
    )


@pytest.mark.parametrize("bins", [5, 15, 20])
def test_error_equals_torchmetrics(bins):
    logits, labels = predictions()
    expected = multiclass_calibration_error(
        logits.softmax(1), labels, logits.shape[1], n_bins=bins, norm="l1"
    )
    measured = summarize(logits, labels, bins).equal_width
    assert measured.error.estimate == pytest.approx(float(expected), abs=1e-6)
    assert measured.error.low <= measured.error.estimate <= measured.error.high


@pytest.mark.parametrize(("kind", "strategy"), [("equal_width", "uniform"),
                                                ("equal_count", "quantile")])  # fmt: skip
def test_bins_equal_those_of_scikit_learn(kind, strategy):
    logits, labels = predictions(count=1000)
    confidences, predicted = logits.softmax(1).max(dim=1)
    accuracy, confidence = calibration_curve(
        predicted == labels, confidences, n_bins=10, strategy=strategy
    )
    diagram = getattr(summarize(logits, labels, 10), kind)
    used = diagram.counts > 0
    # Photos of one fine bin stay together, which moves a few of them to the neighboring bin.
    exact = kind == "equal_width"
    np.testing.assert_allclose(
        diagram.mean_confidence[used], confidence, atol=1e-9 if exact else 0.002
    )
    np.testing.assert_allclose(diagram.accuracy[used], accuracy, atol=1e-12 if exact else 0.03)
    if not exact:
        assert diagram.counts.tolist() == pytest.approx([100] * 10, abs=4)


def test_the_state_does_not_depend_on_the_order():
    logits, labels = predictions()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    first, second = (
        histogram_of(logits[rows], labels[rows], 15) for rows in (torch.arange(400), order)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_temperature_is_the_one_that_scipy_finds():
    for sharpness in (0.4, 1.0, 3.0):
        logits, labels = predictions(sharpness=sharpness)

        def loss(temperature, logits=logits, labels=labels):
            return float(torch.nn.functional.cross_entropy(logits / temperature, labels))

        best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-6})
        calibration = summarize(logits, labels)
        assert calibration.temperature == pytest.approx(best.x, rel=1e-3)
        assert calibration.loss == pytest.approx(loss(1.0), abs=1e-5)
        assert calibration.scaled_loss == pytest.approx(best.fun, abs=1e-5)


def test_without_a_least_cross_entropy_there_is_no_temperature():
    logits = torch.eye(3, dtype=torch.float64)
    fitted = fit_temperature(sum_losses(logits, torch.eye(3).bool()), 3)
    assert fitted.temperature is None  # all are right: the surer the better
    assert fitted.loss == fitted.scaled_loss == pytest.approx(math.log(math.e + 2) - 1, abs=1e-5)
    assert TEMPERATURES[0] == 1 / 16
    assert TEMPERATURES[-1] == 16


def test_an_overconfident_network_exceeds_chance_and_a_calibrated_one_seldom_does():
    above = []
    for seed in range(40):
        logits, labels = predictions(count=200, sharpness=1.0, seed=seed)
        histogram = histogram_of(logits, labels, 10)
        bins = fine_histogram.equal_width(histogram, 10)
        measured = calibration_error(histogram, bins, 10, seed=seed)
        above.append(measured.estimate > measured.chance)
    assert sum(above) <= 6  # 5 % of 40 are 2
    sharp = summarize(*predictions(sharpness=3.0))
    for diagram in (sharp.equal_width, sharp.equal_count):
        assert diagram.error.estimate > diagram.error.chance
        assert diagram.error.low > 0
    assert sharp.mean_gap > 0.05
    assert sharp.temperature == pytest.approx(3.0, rel=0.15)


def test_the_interval_holds_the_true_error():
    generator = np.random.default_rng(0)
    true, hits = 0.1, 0
    for seed in range(40):
        confidences = generator.uniform(0.3, 1.0, 300)
        right = generator.random(300) < confidences - true
        histogram = fine_histogram.empty_histogram(10)
        fine_histogram.add_confidences(
            histogram, 10, torch.from_numpy(confidences), torch.from_numpy(right)
        )
        bins = fine_histogram.equal_width(histogram, 10)
        measured = calibration_error(histogram, bins, 10, seed=seed)
        hits += measured.low <= true <= measured.high
    assert hits >= 35


def test_no_photos_and_certain_predictions():
    bins = fine_histogram.empty_histogram(10)
    nothing = calibration_error(bins, fine_histogram.equal_width(bins, 10), 10)
    assert math.isnan(nothing.estimate)
    logits = torch.tensor([[1000.0, 0.0]], dtype=torch.float64).repeat(8, 1)
    certain = summarize(logits, torch.zeros(8, dtype=torch.int64))
    assert certain.equal_width.error.estimate == 0
    assert certain.equal_count.counts.sum() == 8
    assert "0 %" in certain.summary()
    assert certain.figure().axes
