"""Earlier results are replaced only with --overwrite."""

import os
import subprocess
import sys

import pytest

from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"

RESULT = '{"format": 2, "result": {}}'


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("cortex", "a.png", "--size", "24"), "convlens-cortex"),
        (("maps", "a.png", "--model", MINE, "--layer", "0"), "convlens-maps"),
        (("fgsm", "a.png", "--model", MINE), "convlens-fgsm"),
        (("gradcam", "a.png", "--model", MINE), "convlens-gradcam"),
        (("selectivity", "a.png", "--model", MINE, "--labels", "l.csv"), "convlens-selectivity"),
    ],
)
@pytest.mark.parametrize("explicit", [False, True])
def test_earlier_results_are_refused_before_any_work(here, convlens, words, out, explicit):
    folder = here / ("mine" if explicit else out)
    folder.mkdir()
    (folder / "result.json").write_text(RESULT)
    (here / "l.csv").write_text("file,class\na.png,ant\n")
    before = contents(folder)
    answer = one_line(convlens(*words, *(("--out", "mine") if explicit else ())))
    assert f"{folder.name} holds earlier results (result.json)" in answer
    assert "give --overwrite to replace them" in answer
    assert f"or another folder, such as --out {folder.name}-2" in answer
    assert contents(folder) == before


def test_overwrite_replaces_earlier_results(here, convlens):
    words = ("cortex", "a.png", "--size", "24", "--wavelength", "4")
    assert convlens(*words)[0] == 0
    first = (here / "convlens-cortex" / "result.json").read_text()
    one_line(convlens(*words, "--orientations", "3"))
    assert (here / "convlens-cortex" / "result.json").read_text() == first
    assert convlens(*words, "--orientations", "3", "--overwrite")[0] == 0
    assert (here / "convlens-cortex" / "result.json").read_text() != first


def test_an_empty_folder_needs_no_overwrite(here, convlens):
    (here / "new").mkdir()
    words = ("cortex", "a.png", "--size", "24", "--wavelength", "4", "--out", "new")
    assert convlens(*words)[0] == 0


def test_the_folder_that_the_message_names_is_free(here, convlens):
    for name in ("convlens-cortex", "convlens-cortex-2"):
        (here / name).mkdir()
    (here / "convlens-cortex" / "result.json").write_text(RESULT)
    assert "--out convlens-cortex-3" in one_line(convlens("cortex", "a.png"))


def test_resume_needs_no_overwrite(here, convlens):
    (here / "cams").mkdir()
    (here / "cams" / "numbers.json").write_text('{"photos": {}}')
    answer = one_line(convlens("gradcam", "a.png", "--model", MINE, "--out", "cams", "--resume"))
    assert "there is nothing to resume" in answer


def test_overwrite_replaces_no_other_files(here, convlens):
    (here / "notes").mkdir()
    (here / "notes" / "diary.txt").write_text("mine")
    words = ("cortex", "a.png", "--size", "24", "--out", "notes", "--overwrite")
    assert "holds other files" in one_line(convlens(*words))
    assert contents(here / "notes") == {"diary.txt": "mine"}


def test_a_result_that_a_killed_process_had_moved_away_is_not_replaced(here, convlens):
    """It is moved back when the next command looks for earlier results."""
    hidden = here / ".convlens-00000000"
    (hidden / "old").mkdir(parents=True)
    (hidden / "old" / "result.json").write_text(RESULT)
    (hidden / "lock").write_text(f"convlens-cortex\n{os.getpid()}")
    assert "holds earlier results" in one_line(convlens("cortex", "a.png"))
    assert contents(here / "convlens-cortex") == {"result.json": RESULT}


def test_a_drawing_is_replaced_only_with_overwrite(here, convlens):
    (here / "network.svg").write_text("mine")
    words = ("anatomy", "--model", MINE, "--draw", "network.svg")
    assert "network.svg exists; give --overwrite" in one_line(convlens(*words))
    assert (here / "network.svg").read_text() == "mine"
    assert convlens(*words, "--overwrite")[0] == 0
    assert "<svg" in (here / "network.svg").read_text()


def test_torch_is_not_imported_before_earlier_results_are_refused(here):
    (here / "cams").mkdir()
    (here / "cams" / "numbers.json").write_text('{"photos": {}}')
    code = (
        "import sys\nsys.argv = 'convlens gradcam a.png --out cams'.split()\n"
        "from convlens.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n"
        "    print(stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
    assert "holds earlier results" in done.stderr
