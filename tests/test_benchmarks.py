"""The command of the benchmarks; they are imported, not run.

Peers are imported when they are timed, so that the modules import without them.
"""

from importlib import import_module

import pytest
from benchmarks.__main__ import NAMES, main


@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_imports(name: str) -> None:
    assert callable(import_module(f"benchmarks.{name}").run)


def test_list_names_each_benchmark_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(NAMES)
    for line in lines:
        assert line.endswith(".") and len(line.split()) > 4


def test_an_unknown_name_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcam", "fgms"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "there is no benchmark 'fgms'; nearest: fgsm\n"


def test_an_unknown_name_near_none_is_refused_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyz"]) == 2
    assert capsys.readouterr().err == (
        f"there is no benchmark 'xyz'; there are: {', '.join(NAMES)}\n"
    )
