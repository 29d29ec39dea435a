"""The table of published figures: rows agree, and a row that disagrees or cannot run says so."""

from pathlib import Path

import pytest
from benchmarks.reproductions import attacks, filters, saliency, structure, training
from benchmarks.reproductions.__main__ import main
from benchmarks.reproductions.published_figure import Outcome, PublishedFigure, judge

MODULES = (structure, saliency, filters, attacks)
ROWS = [row for module in MODULES for row in module.reproductions()]
CHEAP = [row for row in ROWS if "worked by hand" in row.quantity]


def check_row(row: PublishedFigure) -> None:
    outcome = row.run()
    if outcome.verdict == "missing":
        pytest.skip(outcome.ours)
    assert outcome.verdict in ("agrees", "not comparable"), f"{row.quantity}: {outcome.ours}"


@pytest.mark.parametrize("row", CHEAP, ids=lambda row: row.quantity)
def test_cheap_figures_agree(row: PublishedFigure) -> None:
    check_row(row)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row not in CHEAP], ids=lambda row: row.quantity
)
def test_published_figures_agree(row: PublishedFigure) -> None:
    check_row(row)


def test_a_row_names_what_is_missing(tmp_path: Path) -> None:
    def fail() -> Outcome:
        raise AssertionError

    row = PublishedFigure("errors", "1 %", "a paper", fail, (tmp_path, tmp_path / "data"))
    assert row.run() == Outcome(f"there is no {tmp_path / 'data'}", "missing")


def test_figures_that_disagree_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = PublishedFigure("a figure", "1 %", "a paper", lambda: judge("2 %", False))
    monkeypatch.setattr(structure, "reproductions", lambda: [row])
    assert main(["a figure"]) == 0
    output = capsys.readouterr()
    assert "DIFFERS" in output.out and "a paper" in output.out
    assert output.err == "DIFFERS: a figure: 2 %\n"


def test_figures_of_benchmarks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "RESULTS", tmp_path)
    mnist, fashion, pooling = training.reproductions()
    assert mnist.run().verdict == "missing"
    assert mnist.run().ours.startswith("measure it: make bench ONLY=mnist (about ")
    trainings = '[{"part": "seed 0", "accuracy": 0.995, "minutes": 9.0}]'
    content = f'{{"mnist": {{"setting": "LeNet-5, 10 epochs", "runs": {trainings}}}}}'
    (tmp_path / "mnist.json").write_text(content)
    assert mnist.run() == Outcome("99.50 % (one seed; LeNet-5, 10 epochs)", "agrees")
    (tmp_path / "mnist.json").write_text(content.replace("0.995", "0.99"))
    assert mnist.run() == Outcome("99.00 % (one seed; LeNet-5, 10 epochs)", "DIFFERS")
    assert fashion.run().verdict == "missing"
    runs = '{"max": [{"crop": 0.8}, {"crop": 0.9}], "blur": [{"crop": 0.7}]}'
    (tmp_path / "antialiasing.json").write_text(f'{{"digits": {{"runs": {runs}}}}}')
    assert pooling.run() == Outcome("digits 85.0 % and 70.0 %", "DIFFERS")


def test_an_unknown_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyz"]) == 2
    assert capsys.readouterr().err == "no row contains xyz\n"
