"""How benchmarks run: in which processes, how often, and what is stored of them."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from benchmarks import __main__ as command
from benchmarks import document, mnist, tables
from benchmarks.floors import measure_pass_floor
from benchmarks.patches import measure_peak
from benchmarks.reproductions import training
from benchmarks.timing import measure
from torch import nn


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words after the interpreter of processes that are started; `fgsm` fails, none runs."""
    processes: list[list[str]] = []

    def run(words: list[str], *, check: bool) -> SimpleNamespace:
        assert not check
        processes.append(words[1:])
        return SimpleNamespace(returncode=int("fgsm" in words))

    monkeypatch.setattr(subprocess, "run", run)
    return processes


def test_a_benchmark_that_fails_does_not_stop_the_next(
    started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["gradcam", "fgsm", "shift", "gradcam", "--write-document"]) == 1
    assert started == [
        ["-m", "benchmarks", name, "--write-document"] for name in ("gradcam", "fgsm", "shift")
    ]
    assert "3 benchmarks" in (output := capsys.readouterr().out)
    assert output.endswith("failed: fgsm\n")


def test_without_names_all_run_but_those_that_take_long(started: list[list[str]]) -> None:
    command.main([])
    names = [words[2] for words in started]
    assert set(names) == set(command.NAMES) - command.LONG
    assert len(names) == len(set(names))


def test_one_benchmark_runs_here_and_its_minutes_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        tables.write_results("gabor", {}, remarks=["a figure"])

    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(document, "DOCUMENT", tmp_path / "page.md")
    monkeypatch.setattr(command, "import_module", lambda name: SimpleNamespace(run=run))
    clock = iter((60.0, 240.0))
    monkeypatch.setattr(command.time, "perf_counter", lambda: next(clock))
    assert command.main(["gabor", "--write-document"]) == 0
    assert "gabor: 3.0 minutes" in capsys.readouterr().out
    assert json.loads((tmp_path / "gabor.json").read_text("utf-8"))["minutes"] == 3.0
    assert ", 3.0 minutes: " in (tmp_path / "page.md").read_text("utf-8")


def test_the_floor_runs_beside_each_callable_in_each_round() -> None:
    runs: Counter[str] = Counter()
    works = {name: (lambda name=name: runs.update([name])) for name in ("a", "b")}
    pairs = measure(lambda: runs.update(["floor"]), works, rounds=2, seconds=0)
    assert runs == {"a": 1 + 2, "b": 1 + 2, "floor": 1 + 2 * 2}  # the first run is a warm-up
    assert len(pairs["a"].own.wall) == len(pairs["b"].floor.cpu) == 2


def test_the_floor_of_a_pass_runs_all_images_in_batches() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    images = torch.rand(70, 3, 4, 4)
    floor = measure_pass_floor(network, images)
    batches = floor.work()
    assert isinstance(batches, list)
    assert [len(batch) for batch in batches] == [32, 32, 6]
    torch.testing.assert_close(torch.cat(batches), network(images), rtol=1e-5, atol=1e-6)
    assert torch.equal(floor.images, images)


def test_finished_trainings_are_kept_when_a_later_one_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter((0.996, 0.991, 0.992))

    def train(data: Path, *, out: str, seed: int, **options: object) -> SimpleNamespace:
        accuracy = next(accuracies, None)
        if accuracy is None:
            raise KeyboardInterrupt
        assert options == mnist.SETTINGS["mnist"].options
        return SimpleNamespace(accuracy=accuracy)

    for name in mnist.SETTINGS:
        (tmp_path / "data" / name).mkdir(parents=True)
    monkeypatch.setattr(mnist, "DATA", tmp_path / "data")
    monkeypatch.setattr(mnist, "train", train)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        mnist.run()
    content = json.loads((tmp_path / "mnist.json").read_text("utf-8"))
    runs = content["mnist"]["runs"]
    assert [run["accuracy"] for run in runs] == [0.996, 0.991, 0.992]
    assert "fashion-mnist" not in content
    monkeypatch.setattr(training, "RESULTS", tmp_path)
    outcomes = [row.run() for row in training.reproductions()[:2]]
    assert [outcome.verdict for outcome in outcomes] == ["agrees", "missing"]


@pytest.mark.slow
def test_the_peak_memory_of_a_pass_over_noise_is_measured() -> None:
    assert measure_peak(40) > 100_000  # KiB: torch alone takes more
