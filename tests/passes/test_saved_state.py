"""The saved state of a pass: one process uses it, it is checked, and it outlives its successor."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import convlens
from convlens.analyses.gradcam.dataset_pass import gradcams
from convlens.passes import saved_state
from convlens.passes.options import PassOptions
from support.labeled_model import model
from support.public_functions import files

STATE = {"sum": torch.zeros(3), "count": torch.zeros((), dtype=torch.int64)}
IMAGES = ["a 1 1", "b 1 1", "c 1 1"]


@pytest.fixture
def folder(tmp_path):
    finished = saved_state.FinishedImages([(0, 2)], {1: "b is damaged"})
    saved_state.save(tmp_path / "state", {"seed": 0}, IMAGES, finished, STATE)
    return tmp_path / "state"


def read(folder):
    return saved_state.read(folder, {"seed": 0}, IMAGES, STATE)


def test_what_was_saved_is_read(folder):
    finished, state = read(folder)
    assert (finished.spans, finished.skipped) == ([(0, 2)], {1: "b is damaged"})
    assert state.keys() == STATE.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"finished": [[0, 5]]}, {"finished": [[-1, 2]]}, {"finished": [[1, 0]]},
        {"finished": [[0, 2], [1, 3]]}, {"finished": [[0, "x"]]}, {"finished": 5},
        {"finished": None}, {"skipped": {"2": "not reached"}}, {"skipped": {"x": ""}},
        {"skipped": []}, {"state": "../other.safetensors"}, {"state": 5}, {"state": None},
        {"state": "state-000000009.safetensors"}, {"format": "2"}, {"format": None},
        {"identity": []}, {"identity": None}, {"images": 5},
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_refused(folder, change):
    path = folder / saved_state.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(convlens.ConvlensError) as error:
        read(folder)
    assert "\n" not in str(error.value)
    assert "remove" in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", "[" * 100_000, '"\ud83d"'])
def test_text_that_is_no_manifest_is_refused(folder, text):
    (folder / saved_state.MANIFEST).write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(convlens.ConvlensError, match="is damaged"):
        read(folder)


@pytest.mark.parametrize(
    "state",
    [
        {"sum": torch.zeros(4), "count": STATE["count"]},
        {"sum": torch.zeros(3).double(), "count": STATE["count"]},
        {"sum": torch.zeros(3)},
        STATE | {"more": torch.zeros(1)},
    ],
)
def test_a_state_of_other_tensors_is_refused(folder, state):
    path = next(folder.glob("state-*"))
    assert load_file(path).keys() == STATE.keys()
    save_file(state, path)
    with pytest.raises(convlens.ConvlensError, match=r"damaged \(ValueError: tensor '\w+'"):
        read(folder)


@pytest.mark.slow
def test_another_process_is_refused(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from convlens.passes.saved_state import claim_saved_state\n"
        f"with claim_saved_state(Path({str(tmp_path / 'state')!r})):\n"
        "    print('claimed', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(convlens.ConvlensError, match=r"state is in use by another run"):
            convlens.patches(
                model(), torch.rand(2, 3, 32, 32),
                pass_options=PassOptions(resume_folder=tmp_path / "state"),
            )  # fmt: skip
        other.communicate("\n")


class TestInterruptedEnd:
    """A state is all there is of a run until its result is complete."""

    @pytest.fixture
    def run(self, tmp_path):
        paths = files(tmp_path)
        options = PassOptions(resume_folder=tmp_path / "out.unfinished", save_interval=0.0)
        return lambda: gradcams(
            model(), paths, out=tmp_path / "out", classes=["ant"], pass_options=options
        )

    def test_the_result_cannot_be_put_in_place(self, tmp_path, run, monkeypatch):
        import convlens.analyses.gradcam.dataset_pass as module

        def full(*arguments, **options):
            raise convlens.ConvlensError("cannot write out: no room")

        monkeypatch.setattr(module, "replace_folder", full)
        with pytest.raises(convlens.ConvlensError, match="no room"):
            run()
        assert (tmp_path / "out.unfinished" / saved_state.MANIFEST).is_file()
        assert (tmp_path / "out.unfinished" / "photos" / "0.png").is_dir()
        monkeypatch.undo()
        monkeypatch.setattr(module.MapWork, "process_batch", None)  # nothing is computed again
        assert run().photos == ("0.png", "1.png", "2.png")
        assert not (tmp_path / "out.unfinished" / saved_state.MANIFEST).exists()

    def test_a_run_that_is_killed_between_the_two_steps(self, tmp_path, run, monkeypatch):
        run()
        before = {path.name for path in (tmp_path / "out").iterdir()}
        finished = saved_state.FinishedImages([(0, 3)])
        saved_state.save(tmp_path / "out.unfinished", {"seed": 0}, IMAGES, finished, STATE)
        assert run().photos == ("0.png", "1.png", "2.png")  # from the beginning
        assert {path.name for path in (tmp_path / "out").iterdir()} == before
