"""Progress where standard error is no terminal: a line now and then."""

import time

import pytest

from convlens.cli import terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_ten_seconds(clock, capsys):
    with terminal.progress(quiet=False) as progress:
        for done in range(100):
            clock[0] += 1
            progress("photos", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "photos: 9 of 1,000, 1.0/s, about 0:16:31 left"


def test_short_work_and_quiet_work_print_nothing(clock, capsys):
    with terminal.progress(quiet=False) as progress:
        progress("photos", 3, 10)
    with terminal.progress(quiet=True) as progress:
        clock[0] += 60
        progress("photos", 3, 10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("quiet", "shown"), [(False, "loading default\n"), (True, "")])
def test_a_long_wait_is_named(quiet, shown, monkeypatch, capsys):
    monkeypatch.setattr(terminal, "_SECONDS_BETWEEN_LINES", 0.01)
    with terminal.waiting("loading default", quiet=quiet):
        time.sleep(0.1)
    assert capsys.readouterr().err == shown


def test_a_short_wait_is_not_named(capsys):
    with terminal.waiting("loading default", quiet=False):
        pass
    assert capsys.readouterr().err == ""
