"""The command line as a process: full and closed output, folders in use, sizes beyond memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convlens.cli import escape_what_cannot_be_shown
from convlens.files import claim_folder

pytest_plugins = "support.command_line"

MODEL = ("--model", "python:mine.py:tiny")


def start(*words, **options):
    command = [sys.executable, "-m", "convlens", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def ends_in_one_line(process, words):
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.startswith("convlens: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.slow
def test_a_full_disk_behind_standard_output_ends_in_one_line(here):
    with Path("/dev/full").open("w") as full:
        for words in (["anatomy", *MODEL], ["--help"]):
            ends_in_one_line(start(*words, stdout=full), "standard output (No space left")


def test_a_reader_that_goes_away(here):
    reading, writing = os.pipe()
    process = start("cache", "--json", stdout=writing)  # needs no torch
    os.close(writing)
    os.close(reading)
    ends_in_one_line(process, "standard output (Broken pipe)")


def test_a_closed_standard_output_ends_in_one_line(here):
    process = start("--version", preexec_fn=lambda: os.close(1))
    ends_in_one_line(process, "standard output is closed")


@pytest.mark.slow
def test_full_standard_error_changes_no_result(here):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "convlens", "anatomy", "--model", "python:none.py:none"]
        assert subprocess.run(command, stderr=full, check=False).returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ["gradcam", "a.png", *MODEL], ["cortex", "a.png", "--size", 64], ["filters", *MODEL],
        ["report", "a.png", *MODEL], ["fgsm", "a.png", *MODEL], ["dream", "a.png", *MODEL],
        ["maximize", *MODEL, "--class", "cat"], ["tuning", *MODEL], ["maps", "a.png", *MODEL],
        ["field", "a.png", *MODEL, "--layer", "0"], ["effective-field", "a.png", *MODEL],
        ["patches", "a.png", *MODEL], ["shift", "a.png", *MODEL],
    ],
)  # fmt: skip
def test_a_folder_that_another_process_writes(here, convlens, words):
    code = (
        "from convlens.files import claim_folder\n"
        "with claim_folder('out', marker='m'): print('claimed', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        status, out, err = convlens(*words, "--out", "out")
        other.communicate("\n")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"out is in use by another run of convlens (process {other.pid})" in err
    assert sorted(path.name for path in here.iterdir() if "convlens" in path.name) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gradcam", "a.png", *MODEL, "--out", "/"], "it is the root of the file system"),
        (["cortex", "a.png", "--out", "/"], "it is the root of the file system"),
        (["gradcam", "a.png", *MODEL, "--out", "x" * 300], "File name too long"),
        (["dream", "a.png", *MODEL, "--out", "x" * 300], "File name too long"),
        (["gradcam", "x" * 300, *MODEL], "does not exist"),
        (["gradcam", "a.png", *MODEL, "--labels", "x" * 300], "--labels"),
        (["fgsm", "a.png", *MODEL, "--labels", "x" * 300], "File name too long"),
        (["gradcam", "a.png", *MODEL, "--size", "100000"], "need too much memory"),
        (["report", "a.png", *MODEL, "--size", "100000"], "need too much memory"),
        (["cortex", "a.png", "--size", "100000"], "need too much memory"),
        (["dream", "a.png", *MODEL, "--image-size", "100000"], "need too much memory"),
        (["maximize", *MODEL, "--class", "cat", "--image-size", "100000"], "too much memory"),
        (["anatomy", *MODEL, "--size", "9" * 5000], "is not a number of pixels"),
        (["maximize", *MODEL, "--channel", "0:" + "9" * 5000], "0:99999"),
        (["cortex", "a.png", "--orientations", "9" * 5000], "orientations"),
        (["anatomy", *MODEL, "--seed", "9" * 30], "--seed"),
    ],
)
def test_places_and_sizes_that_cannot_be(here, convlens, words, message):
    before = sorted(here.iterdir())
    status, out, err = convlens(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(path for path in here.iterdir() if path.name != "__pycache__") == before


def test_photos_beside_the_results_of_earlier_runs(here, convlens):
    rows = []
    for _ in range(3):
        status, out, err = convlens("gradcam", ".", *MODEL, "--overwrite")
        assert status == 0
        rows.append([line.split()[0] for line in out.splitlines() if ".png" in line])
    assert rows == [["a.png", "b.png"]] * 3
    assert "left out: 3 files in folders of results of convlens" in err
    status, out, _ = convlens("gradcam", ".", "convlens-gradcam/a.png/*.png", *MODEL, "--out", "o")
    assert status == 2  # a pattern is not a name
    picture = next((here / "convlens-gradcam" / "a.png").glob("*.png"))
    status, out, _ = convlens("gradcam", ".", picture, *MODEL, "--out", "o")
    assert status == 0
    assert picture.name in out


def test_the_claim_ends_with_the_command(here, convlens):
    words = ("cortex", "a.png", "--size", 64, "--out", "out", "--overwrite")
    assert convlens(*words)[0] == 0
    with claim_folder(here / "out", marker="result.json"):
        assert convlens(*words)[0] == 0  # of this thread
    assert sorted(path.name for path in here.iterdir() if path.name.startswith(".")) == []


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_that_lacks_characters(here, encoding):
    names = here / "names.txt"
    names.write_text("ant\nbée\n猫\n[dog]\n", encoding="utf-8")
    words = ("gradcam", "a.png", *MODEL, "--class-names", names, "--class", "猫", "--out", "out")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    process = start(*words, stdout=subprocess.PIPE, env=environment, encoding=encoding)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert r"\u732b" in out


def test_characters_that_an_output_lacks(here, monkeypatch):
    with (here / "out.txt").open("w", encoding="latin-1") as file:
        monkeypatch.setattr(sys, "stdout", file)
        escape_what_cannot_be_shown()
        print('{"é": "猫 🐈"}')
    text = (here / "out.txt").read_text(encoding="latin-1")
    assert text == '{"é": "\\u732b \\ud83d\\udc08"}\n'
    assert json.loads(text) == {"é": "猫 🐈"}


@pytest.mark.slow
def test_file_names_that_the_environment_cannot_write(here):
    names = here / "names.txt"
    names.write_text("ant\nbée\n猫\n[dog]\n", encoding="utf-8")
    words = ("gradcam", "a.png", *MODEL, "--class-names", "names.txt", "--top", "4", "--out", "out")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ends_in_one_line(start(*words, stdout=subprocess.DEVNULL, env=environment), "set PYTHONUTF8=1")


def test_an_option_in_place_of_a_folder(here, convlens):
    status, out, err = convlens("gradcam", "a.png", *MODEL, "--out", "--overwrite")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--out --overwrite names no folder" in err and not (here / "--overwrite").exists()


def test_a_working_folder_that_is_gone(here, convlens):
    (here / "gone").mkdir()
    os.chdir(here / "gone")
    (here / "gone").rmdir()
    status, out, err = convlens("--version")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "the working folder does not exist any more" in err
