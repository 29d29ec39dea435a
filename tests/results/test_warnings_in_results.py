"""Results keep the warnings of their network, also when they are saved, and the page shows them."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensWarning
from convlens.results.network_result import (
    NetworkResult,
    collect_warnings,
    keep_warnings,
    warn,
)
from support.public_functions import CALLS, SIZE, files, images

pytestmark = pytest.mark.filterwarnings("ignore::convlens.errors.ConvlensWarning")


@dataclass(frozen=True, eq=False)
class Count(NetworkResult):
    number: int


@keep_warnings
def count(number):
    if number > 1:
        warn(f"{number} is much")
        warn(f"{number} is much")
        count(number - 1)
    return Count(number)


def network():
    """A network that depends on the batch and returns an average of probabilities."""
    torch.manual_seed(0)
    return nn.Sequential(
        *[nn.Identity()] * 6, nn.BatchNorm2d(3, track_running_stats=False), nn.Conv2d(3, 6, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4), Average(),
    ).eval()  # fmt: skip


class Average(nn.Module):
    def forward(self, x):
        return (x.softmax(1) + (2 * x).softmax(1)) / 2


def test_warnings_inside_a_function_are_kept_once_and_by_the_outer_functions():
    assert count(1).warnings == ()
    assert count(3).warnings == ("3 is much", "2 is much")
    with collect_warnings() as collected:
        count(2)
    assert collected == ["2 is much"]


def test_warnings_are_still_given_and_keep_no_trace_after_an_error():
    with pytest.warns(ConvlensWarning, match="2 is much"):
        count(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvlensWarning)
        with pytest.raises(ConvlensWarning), collect_warnings():
            warn("stop")
    with collect_warnings() as collected:
        pass
    assert collected == []


def test_threads_keep_their_own_warnings():
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(count, [1, 2, 3, 4] * 20))
    assert all(len(result.warnings) == result.number - 1 for result in results)


def test_empty_warnings_are_not_shown():
    assert repr(Count(1)) == "Count(number=1)"
    assert "2 is much" in repr(count(2)) and "2 is much" in count(2)._repr_html_()


# These read weights, or photos alone.
WITHOUT_OUTPUTS = {
    "check_weights", "compare_weights", "filters", "filters_over_training", "filters_by_kind",
    "fit_gabor", "image_tensor", "trace", "folder_labels", "missing_settings",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(CALLS) - WITHOUT_OUTPUTS))
def test_every_result_of_outputs_or_maps_keeps_the_warnings(name):
    result = CALLS[name](convlens.wrap(network(), size=SIZE))
    text = " ".join(result.warnings)
    assert "other images of its batch" in text and "read as probabilities" in text


def test_saved_results_hold_the_warnings(tmp_path):
    predictions = convlens.predict(convlens.wrap(network(), size=SIZE), images())
    predictions.save(tmp_path / "saved")
    assert NetworkResult.load(tmp_path / "saved").warnings == predictions.warnings != ()
    assert "read as probabilities" in (tmp_path / "saved/result.json").read_text()
    assert predictions.to_json()["warnings"] == list(predictions.warnings)


def test_the_page_shows_the_warnings_as_findings(tmp_path, monkeypatch):
    monkeypatch.setattr("convlens.page.sections.SECTIONS", ("network",))
    model = convlens.wrap(network(), size=SIZE)
    report = convlens.report(model, files(tmp_path), out=tmp_path / "page")
    assert len(report.warnings) == 2
    for sentence in report.warnings:
        assert f"{sentence}." in [finding.sentence for finding in report.findings]
        assert sentence in report.page.read_text()
        assert sentence in report.data.read_text()
