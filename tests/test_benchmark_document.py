"""The page docs/benchmarks.md, written from results of benchmarks."""

import json
from pathlib import Path

import pytest
from benchmarks import tables
from benchmarks.document import write_document
from benchmarks.tables import Row, TextTable, write_results, write_rows
from benchmarks.timing import Pair, Timing

SUMMARIES = {"fast": "What is fast.", "slow": "What is slow.", "other": "Something else."}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that benchmarks write to."""
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_rows_become_a_table_with_ratios_spread_and_verdict(results: Path, tmp_path: Path) -> None:
    floor = Timing(wall=(1.0, 2.0, 4.0), cpu=(1.0, 1.0, 1.0))
    pair = Pair(own=Timing(wall=(1.5, 3.0, 8.0), cpu=(2.0, 3.0, 4.0)), floor=floor)
    write_rows(
        "fast",
        [
            Row("net", "1 class", "convlens", pair, 1.4, ""),
            Row("net", "1 class", "peer|one", pair, None, ""),
            Row("net", "1 class", "absent", None, None, "not installed: no <peer>"),
        ],
        ["a remark"],
    )
    document = tmp_path / "benchmarks.md"
    write_document(SUMMARIES, results, document)
    lines = document.read_text(encoding="utf-8").splitlines()
    ratios = "3000 (1500-8000) | 1.50 (1.50-2.00) | 3.00 (2.00-4.00)"
    assert f"| net | 1 class | convlens | {ratios} | 1.4, **missed** |" in lines
    assert f"| net | 1 class | peer\\|one | {ratios} |  |" in lines
    assert "| net | 1 class | absent | not installed: no \\<peer> |  |  |  |" in lines
    assert "- a remark" in lines
    machine = json.loads((results / "fast.json").read_text(encoding="utf-8"))["machine"]
    (told,) = (line for line in lines if line.startswith(machine["date"]))
    assert machine["cpu"] in told and f"torch {machine['versions']['torch']}" in told


def test_a_partial_run_replaces_its_own_sections_only(results: Path, tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    for name, figure in (("slow", "1.0 s"), ("fast", "2.0 s")):
        write_results(name, {}, tables=[TextTable("times", ("work", "time"), (("all", figure),))])
    write_document(SUMMARIES, results, document)
    for path in results.iterdir():  # as in a fresh checkout
        path.unlink()
    write_results("fast", {}, remarks=["took 3.0 s"])
    write_document(SUMMARIES, results, document)
    text = document.read_text(encoding="utf-8")
    assert text.index("## fast") < text.index("## slow")  # in the order of the benchmarks
    assert "| all | 1.0 s |" in text and "2.0 s" not in text and "- took 3.0 s" in text
    assert "## other" not in text
    write_document(SUMMARIES, results, document)
    assert document.read_text(encoding="utf-8") == text


def test_sections_of_removed_benchmarks_are_dropped(results: Path, tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    write_results("slow", {}, remarks=["a figure"])
    write_document(SUMMARIES, results, document)
    write_document({"fast": "What is fast."}, results, document)
    assert "a figure" not in document.read_text(encoding="utf-8")
