"""Claims: one process writes to a path, and what killed processes left is cleared."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from convlens import claims
from convlens.errors import ConvlensError
from convlens.files import atomic_file, atomic_folder, replace_folder

# Writes OUT as a result, and waits or dies at a place that the second argument names.
WRITER = """
import os, sys
from pathlib import Path
from convlens.files import atomic_file, atomic_folder

out, place = Path(sys.argv[1]), sys.argv[2]
if place == "file":
    with atomic_file(out) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), 9)
rename = Path.rename
def stopping(path, target):
    result = rename(path, target)
    if place == "between" and path == out:
        os.kill(os.getpid(), 9)
    return result
Path.rename = stopping
with atomic_folder(out, marker="data") as folder:
    (folder / "data").write_text("new")
    if place == "inside":
        os.kill(os.getpid(), 9)
    if place == "wait":
        print("writing", flush=True)
        sys.stdin.readline()
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(folder, text="old"):
    with atomic_folder(folder, marker="data") as temporary:
        (temporary / "data").write_text(text)


def die(out, place):
    assert (
        subprocess.run([sys.executable, "-c", WRITER, str(out), place], check=False).returncode
        == -9
    )


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    """Look for leftovers again, as a new process does."""
    monkeypatch.setattr(claims, "_cleared", set())


def test_a_second_process_is_refused(tmp_path):
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out), "wait"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as first:  # fmt: skip
        assert first.stdout.readline() == "writing\n"
        with pytest.raises(ConvlensError, match=rf"in use by another run.*process {first.pid}\)"):
            write(out)
        write(tmp_path / "another")  # and leaves the first one's work alone
        first.communicate("\n")
    assert first.returncode == 0
    assert (out / "data").read_text() == "new"
    write(out, "newer")
    assert (out / "data").read_text() == "newer"
    assert names(tmp_path) == ["another", "out"]


def test_another_thread_is_refused_and_the_same_one_is_not(tmp_path):
    errors = []

    def second():
        try:
            write(tmp_path / "out")
        except ConvlensError as error:
            errors.append(str(error))

    with claims.claim_path(tmp_path / "out"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "in use" in errors[0]
        write(tmp_path / "out")
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("place", ["inside", "between"])
@pytest.mark.parametrize("next_name", ["out", "another"])
def test_a_killed_writer_loses_nothing_and_leaves_nothing(tmp_path, place, next_name):
    write(tmp_path / "out")
    die(tmp_path / "out", place)
    assert (tmp_path / "out").exists() == (place == "inside")
    claims._cleared.clear()
    with claims.claim_path(tmp_path / next_name):
        assert (tmp_path / "out" / "data").read_text() == "old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_an_earlier_result_is_never_removed_before_the_new_one_is_in_place(
    tmp_path, monkeypatch, error
):
    write(tmp_path / "out")
    rename = type(tmp_path).rename

    def failing(path, target):
        if target == tmp_path / "out":
            raise error
        return rename(path, target)

    monkeypatch.setattr(type(tmp_path), "rename", failing)
    with pytest.raises((ConvlensError, KeyboardInterrupt)):
        write(tmp_path / "out", "new")
    monkeypatch.undo()
    claims._cleared.clear()
    with claims.claim_path(tmp_path / "out"):
        assert (tmp_path / "out" / "data").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_the_new_result_wins_once_it_is_in_place(tmp_path):
    write(tmp_path / "out")
    die(tmp_path / "out", "between")
    hidden = next(path for path in tmp_path.iterdir() if path.name.startswith(".convlens-"))
    (hidden / "new").rename(tmp_path / "out")
    with claims.claim_path(tmp_path / "out"):
        assert (tmp_path / "out" / "data").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_temporary_files_of_killed_writers_are_removed(tmp_path):
    die(tmp_path / "a.png", "file")
    assert len(names(tmp_path)) == 1
    with atomic_file(tmp_path / "b.png") as temporary:
        temporary.write_text("whole")
        claims._cleared.clear()
        claims.clear_leftovers(tmp_path)  # of another process: not what is being written
        assert temporary.exists()
    assert names(tmp_path) == ["b.png"]


def test_saved_states_and_foreign_files_are_no_leftovers(tmp_path):
    for name in ("out.unfinished", ".convlens-mine", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    write(tmp_path / "out")
    assert names(tmp_path) == [".convlens-mine", ".hidden", "out", "out.unfinished"]


class TestReplaceFolder:
    def test_within_a_file_system(self, tmp_path):
        write(tmp_path / "out")
        write(tmp_path / "state" / "photos", "new")
        replace_folder(tmp_path / "state" / "photos", tmp_path / "out", marker="data")
        assert (tmp_path / "out" / "data").read_text() == "new"
        assert names(tmp_path) == ["out", "state"]
        assert names(tmp_path / "state") == []

    @pytest.mark.parametrize("free", [0, 10**9])
    def test_room_is_checked_before_files_move_to_another_file_system(
        self, tmp_path, monkeypatch, free
    ):
        write(tmp_path / "out")
        write(tmp_path / "photos", "new")
        stat = type(tmp_path).stat

        def elsewhere(path, **options):
            status = stat(path, **options)
            return os.stat_result([*status[:2], -1, *status[3:]]) if path == photos else status

        photos = tmp_path / "photos"
        monkeypatch.setattr(type(tmp_path), "stat", elsewhere)
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free}))
        if not free:
            with pytest.raises(ConvlensError, match=r"are needed there and 0 MB are free"):
                replace_folder(tmp_path / "photos", tmp_path / "out", marker="data")
            monkeypatch.undo()
            assert (tmp_path / "photos" / "data").read_text() == "new"
            assert (tmp_path / "out" / "data").read_text() == "old"
            return
        replace_folder(tmp_path / "photos", tmp_path / "out", marker="data")
        assert (tmp_path / "out" / "data").read_text() == "new"
        assert names(tmp_path) == ["out"]


def test_places_where_nothing_can_be(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, words in [
        ("/", "root of the file system"),
        (tmp_path / "loop", "leads in a circle"),
        (tmp_path / ("x" * 300), os.strerror(errno.ENAMETOOLONG)),
        (tmp_path / ("x" * 300) / "out", os.strerror(errno.ENAMETOOLONG)),
    ]:
        with pytest.raises(ConvlensError, match=words):
            write(path)
    for path in ("/", tmp_path / ("x" * 300)):
        with pytest.raises(ConvlensError, match="cannot write"), atomic_file(path):
            pytest.fail("the block must not run")
    assert names(tmp_path) == ["loop"]
