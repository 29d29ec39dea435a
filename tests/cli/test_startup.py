"""What a command imports, how often the garbage collector runs, and how the process ends."""

import gc
import os
import subprocess
import sys

import pytest

from convlens.runtime.garbage import collect_as_usual, collect_rarely

pytest_plugins = "support.command_line"

MODEL = ("--model", "mine.py:tiny")


def run(*words, **options):
    command = [sys.executable, "-m", "convlens", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.slow
def test_a_command_with_pictures_imports_no_figures(here):
    """Pictures need no matplotlib figures, and a network of one's own no library of networks."""
    code = (
        "import sys; sys.argv = ['convlens', 'gradcam', 'a.png', '--model', 'mine.py:tiny']\n"
        "from convlens.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'matplotlib.figure', 'scipy.stats', 'timm', 'torchvision'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in ended.stdout


@pytest.mark.slow
def test_the_process_ends_with_the_status_and_all_output(here):
    ended = run("anatomy", *MODEL, "--json")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.endswith("\n")
    assert ended.stdout.endswith("}\n")
    ended = run("anatomy", "--model", "mine.py:absent")
    assert ended.returncode == 2
    assert (ended.stdout, ended.stderr.count("\n")) == ("", 1)


@pytest.mark.slow
def test_what_libraries_do_at_the_end_is_done(here):
    (here / "ending.py").write_text(
        "import atexit, threading, time\n"
        "from mine import network\n"
        "def late():\n"
        "    time.sleep(0.3)\n"
        "    open('thread', 'w').close()\n"
        "threading.Thread(target=late).start()\n"
        "atexit.register(lambda: open('ended', 'w').close())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    ended = run("anatomy", "--model", "ending.py:network", "--size", 32, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert (here / "thread").exists()
    assert (here / "ended").exists()


@pytest.fixture
def usual():
    """The thresholds of the garbage collector, which are restored."""
    thresholds = gc.get_threshold()
    yield thresholds
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_the_collector_runs_as_usual_once_the_network_is_loaded(usual, here, convlens):
    collect_rarely()
    assert gc.get_threshold() != usual
    status, _, err = convlens("anatomy", *MODEL)
    assert status == 0, err
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > 0


def test_the_collector_is_left_alone_outside_a_start(usual):
    collect_as_usual()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0
    collect_rarely()
    collect_rarely()
    collect_as_usual()
    assert gc.get_threshold() == usual
