"""The command line as a whole: help, models by name and models that fail, train, doctor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['convlens', '--help']\n"
        "from convlens.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'matplotlib', 'scipy', 'numpy', 'PIL'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "heavy: []" in answer.stdout
    for command in (
        "report", "anatomy", "filters", "gradcam", "patches", "field", "fgsm", "doctor", "train",
        "models",
    ):  # fmt: skip
        assert command in answer.stdout


@pytest.mark.parametrize(
    "command",
    ["report", "anatomy", "filters", "gradcam", "patches", "field", "fgsm", "doctor"],
)
def test_commands_that_run_a_network_have_the_common_options(convlens, command):
    status, out, _ = convlens(command, "--help")
    assert status == 0
    for option in ("--model", "--size", "--device", "--seed", "--json", "--quiet"):
        assert option in out


def test_the_shell_completes_commands():
    environment = {
        **os.environ,
        "_CONVLENS_COMPLETE": "complete_bash",
        "COMP_WORDS": "convlens f",
        "COMP_CWORD": "1",
    }
    code = "from convlens.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert {"field", "fgsm", "filters"} <= set(answer.stdout.split())


def test_train_prints_the_accuracy_and_refuses_another_recipe(here, convlens):
    status, out, err = convlens("train", "--epochs", 1, "--out", "run", "--device", "cpu")
    assert status == 0
    assert "of 179 validation images predicted correctly" in out
    assert "epoch 1/1" in err
    status, out, _ = convlens("train", "--epochs", 1, "--out", "run", "--device", "cpu", "--json")
    assert json.loads(out)["recipe"]["epochs"] == 1
    assert "epochs 1, now 2" in one_line(
        convlens("train", "--epochs", 2, "--out", "run", "--device", "cpu", "--quiet")
    )
    assert "no data 'nowhere'" in one_line(convlens("train", "nowhere", "--quiet"))


def test_doctor_says_that_two_photos_are_too_few(here, convlens):
    status, out, _ = convlens("doctor", "a.png", "b.png", "--model", MINE, "--quiet")
    assert status == 0
    assert "cannot tell: too few photos to judge the preprocessing: 2;" in out


def test_models_lists_the_names_that_hold_a_text(convlens):
    status, out, _ = convlens("models", "squeezenet")
    assert status == 0
    assert out.splitlines() == ["torchvision:squeezenet1_0", "torchvision:squeezenet1_1"]
    _, out, _ = convlens("models", "--json")
    assert json.loads(out)["embedded"] == ["default"]


class TestBadModels:
    def test_unknown(self, here, convlens):
        error = one_line(convlens("anatomy", "--model", "torchvision:resnt50", "--quiet"))
        assert "nearest: resnet50" in error

    def test_checkpoint_of_another_architecture(self, here, convlens):
        save_file({"conv.weight": torch.zeros(2, 3, 3, 3)}, here / "w.safetensors")
        spec = "file:w.safetensors@torchvision:squeezenet1_1"
        assert "w.safetensors" in one_line(convlens("anatomy", "--model", spec, "--quiet"))

    def test_pickle_that_wants_to_run_code(self, here, convlens):
        class Trap:
            def __reduce__(self):
                return (Path.touch, (here / "sprung",))

        torch.save({"state_dict": Trap()}, here / "w.pth")
        spec = "file:w.pth@torchvision:squeezenet1_1"
        one_line(convlens("anatomy", "--model", spec, "--quiet"))
        assert not (here / "sprung").exists()

    def test_network_that_does_not_fit_the_size(self, here, convlens):
        words = ("anatomy", "--model", "torchvision:alexnet@random", "--size", "16", "--quiet")
        assert "3 x 16 x 16" in one_line(convlens(*words))


def test_a_folder_below_a_file_is_refused(here, convlens):
    (here / "file").write_text("")
    words = ("filters", "--model", MINE, "--out", "file/under", "--quiet")
    assert "file" in one_line(convlens(*words))


def test_a_network_of_ones_own_needs_no_model(here, convlens):
    status, out, _ = convlens("anatomy", "--model", "python:mine.py:network", "--size", "32")
    assert status == 0
    assert "Conv2d" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gradcam"], "Missing argument"),
        (["gradcam", "--nope"], "No such option: --nope"),
        (["nothing"], "No such command 'nothing'"),
        (["fgsm", "a.png", "--show", "x"], "Invalid value for '--show'"),
    ],
)
def test_misspelt_words_are_one_line(convlens, words, says):
    error = one_line(convlens(*words))
    assert says in error and error.rstrip().endswith("--help")


def test_quiet_is_taken_everywhere(here, convlens):
    assert convlens("models", "resnet50", "--quiet")[0] == 0
    assert convlens("cortex", "a.png", "--size", 32, "--quiet", "--out", "new/folder")[0] == 0
    assert (here / "new" / "folder" / "result.json").is_file()
