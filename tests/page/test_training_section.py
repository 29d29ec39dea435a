"""The page about a network that convlens trained: its photos, its curves and its classes."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

import convlens
from convlens import open_data
from convlens.errors import ConvlensError
from convlens.models.loading import default_photos
from convlens.page import sections
from convlens.page.report import report
from convlens.page.sections.training import TrainingResult, TrainingSection
from convlens.passes.proportion import Proportion
from support.copied_lines import run_command
from support.pages import Page

pytest_plugins = ("support.pages", "support.trained_runs")


@pytest.fixture(scope="module")
def page_report(trained, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "SECTIONS", ("photos", "training"))
        yield report(convlens.load(trained[0]), out=tmp_path_factory.mktemp("page") / "page")


def test_the_photos_of_the_run_are_shown_with_their_labels(page_report, trained, archive):
    assert len(page_report.photos) == 20 and not page_report.failures
    assert all(photo.expected is not None for photo in page_report.photos)
    right = sum(photo.right for photo in page_report.photos)
    # The photos are all validation images here: the page counts what the training counted.
    assert right / 20 == trained[1].best_accuracy
    first = convlens.load(trained[0]).prepare(page_report.photos[0].path)
    pixels = open_data(archive).validation.pixels.movedim(3, 1).float() / 255
    assert (pixels - first).abs().amax(dim=(1, 2, 3)).min() < 1e-6


def test_numbers_and_curves_are_those_of_the_training(page_report, trained):
    result = page_report.sections["training"]
    assert isinstance(result, TrainingResult)
    assert result.checkpoint == "best" and result.training.history == trained[1].history
    page = Page(page_report.page.read_text("utf-8"))
    numbers = {place: float(value) for place, value, _ in page.numbers}
    assert numbers["sections.training.accuracy.share"] == trained[1].best_accuracy
    last = len(trained[1].history) - 1
    place = f"sections.training.training.history.{last}.validation_loss"
    assert numbers[place] == trained[1].history[-1]["validation_loss"]
    lines = [line["points"] for line in page.all("polyline")]
    counts = [len(line.split()) for line in lines if line is not None]
    assert counts.count(len(trained[1].history)) == 3  # loss twice, accuracy once


def test_validation_has_one_color_in_both_charts(page_report):
    """The first line of a chart has the accent, and the accuracy is that of the validation."""
    text = page_report.page.read_text("utf-8").partition('<section id="training"')[2]
    names = re.findall(r'<g class="series-(\d)">.{0,400}?</svg> (\w+)</span>', text, re.DOTALL)
    assert names[:2] == [("0", "validation"), ("1", "training")]


def test_the_reproduction_trains_the_same_network(page_report, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables: dict = {}
    exec(page_report.reproductions["training"].python, variables)
    again = variables["result"]
    for ours, theirs in zip(again.history, trained[1].history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    assert again.class_correct == trained[1].class_correct
    command = page_report.reproductions["training"].command
    assert command is not None and command.startswith("convlens train ")
    assert command.endswith("--seed 0 --out convlens-training")


def test_the_command_needs_no_photos_and_no_demo(trained, tmp_path, monkeypatch, capsys):
    def missing():
        raise ConvlensError("the demo photos are not installed")

    monkeypatch.setattr(default_photos, "demo_photos", missing)
    monkeypatch.setattr(sections, "SECTIONS", ("training",))
    command = f"convlens report --model {trained[0]} --out {tmp_path / 'page'}"
    assert run_command(command, monkeypatch, capsys)["num_photos"] == 20


def test_other_networks_have_no_training(page_report, tmp_path):
    data = json.loads(page_report.data.read_text("utf-8"))
    assert "training" in data["sections"]
    photo = page_report.photos[0].path
    model = convlens.wrap(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 2)), size=12, channels=1
    )
    other = report(model, [photo], out=tmp_path / "page")
    assert "training" not in other.sections and "training" not in other.failures


@pytest.mark.parametrize(
    ("counts", "weak"), [((50, 50, 48), []), ((50, 50, 20), ["c"]), ((2, 50, 50), ["a"])]
)
def test_a_class_is_weak_only_by_more_than_chance(page_report, trained, counts, weak):
    training = trained[1]
    shares = tuple(Proportion.from_counts(count, 50) for count in counts)
    order = tuple(sorted(range(3), key=lambda index: counts[index]))
    labels = ("a", "b", "c")
    result = TrainingResult(
        replace(training, labels=labels), "best", Proportion.from_counts(sum(counts), 150), shares,
        order,
    )  # fmt: skip
    inputs: Any = None  # which it does not read
    sentences = [
        finding.sentence
        for finding in TrainingSection().findings(inputs, result)
        if finding.mark == "look"
    ]
    assert [sentence[0] for sentence in sentences] == weak
