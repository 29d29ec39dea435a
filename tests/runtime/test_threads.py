"""Threads of OpenMP that sleep soon while they wait, unless the user has decided otherwise."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from convlens.training.processes import launch
from support.folders import TESTS
from support.ray_cluster import Count, model

SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")

# OpenMP prints its settings when torch is imported.
SHOWN = {"OMP_DISPLAY_ENV": "verbose"}

COMMAND_LINE = """
import sys
from convlens.cli import main
sys.argv = ["convlens", "--version"]
try:
    main()
except SystemExit:
    pass
assert "torch" not in sys.modules
import torch
"""

WORKER = """
import sys
from pathlib import Path
from convlens.passes.ray.batch_actor import BatchActor
assert "torch" not in sys.modules
BatchActor().open(Path(sys.argv[1]).read_bytes(), ".", "cpu", 1)
assert "torch" in sys.modules
"""

BENCHMARKS = """
import benchmarks.__main__
benchmarks.__main__.NAMES = ()
benchmarks.__main__.main([])
import torch
"""


def settings_of(code: str, *words: str, **variables: str) -> str:
    """What OpenMP prints of its settings in a process that runs some code."""
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment |= SHOWN | variables
    path = [environment.get("PYTHONPATH", ""), str(TESTS), str(TESTS.parent)]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "OPENMP DISPLAY ENVIRONMENT BEGIN" in ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(COMMAND_LINE, id="command line"),
        pytest.param(BENCHMARKS, id="benchmarks", marks=pytest.mark.slow),
    ],
)
def test_threads_sleep_soon(code: str) -> None:
    assert "GOMP_SPINCOUNT = '10000'" in settings_of(code)


@pytest.mark.slow
def test_threads_of_a_worker_sleep_soon(tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(pickle.dumps((model(), Count(3))))
    assert "GOMP_SPINCOUNT = '10000'" in settings_of(WORKER, str(packed))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("GOMP_SPINCOUNT", "77", "GOMP_SPINCOUNT = '77'"),
        pytest.param(
            "OMP_WAIT_POLICY", "ACTIVE", "OMP_WAIT_POLICY = 'ACTIVE'", marks=pytest.mark.slow
        ),
    ],
)
def test_what_a_user_has_set_stays(name: str, value: str, shown: str) -> None:
    printed = settings_of(COMMAND_LINE, **{name: value})
    assert shown in printed
    assert "GOMP_SPINCOUNT = '10000'" not in printed


def test_processes_of_a_training_inherit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fabric:
        """Of Lightning only that it copies the environment for the processes that it starts."""

        def launch(self) -> None:
            self.environment = dict(os.environ)

    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    fabric = Fabric()
    launch(fabric, 1, print)
    assert fabric.environment["GOMP_SPINCOUNT"] == "10000"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    launch(fabric, 1, print)
    assert "GOMP_SPINCOUNT" not in fabric.environment
