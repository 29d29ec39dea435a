"""The command line as a user meets it: what it prints, what it writes, how it fails."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from convlens.cli import main
from convlens.loading import demo_photos
from convlens.results import Result
from convlens.views.saliency.gradcam import GradCam

CAT, COFFEE = (str(photo.path) for photo in demo_photos()[:2])

TINY = """
import torch
from torch import nn
import convlens


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )


def tiny():
    return convlens.wrap(network(), size=32, labels=["ant", "bee", "cat", "dog"])


def dense():
    return convlens.wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), size=32)


def masks():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 1))


def broken():
    found = network()
    with torch.no_grad():
        found[4].bias[2] = float("nan")
    return found
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a small network of one's own in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TINY)
    Image.effect_noise((40, 50), 60).convert("RGB").save(tmp_path / "a.png")
    Image.effect_noise((64, 48), 60).convert("RGB").save(tmp_path / "b.png")
    return tmp_path


@pytest.fixture
def convlens(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["convlens", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return run


def one_line(answer):
    status, out, err = answer
    assert status == 2
    assert out == ""
    assert err.startswith("convlens: ")
    assert err.count("\n") == 1
    return err


MINE = "python:mine.py:tiny"


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
def test_common_options(convlens, command):
    status, out, _ = convlens(command, "--help")
    assert status == 0
    for option in ("--model", "--size", "--device", "--seed", "--json", "--quiet"):
        assert option in out


def test_completion():
    environment = {
        **os.environ,
        "_CONVLENS_COMPLETE": "complete_bash",
        "COMP_WORDS": "convlens gra",
        "COMP_CWORD": "1",
    }
    code = "from convlens.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert answer.stdout.split() == ["gradcam", "grandmothers"]


class TestAnatomy:
    def test_table(self, here, convlens):
        status, out, err = convlens("anatomy", "--model", MINE, "--quiet")
        assert (status, err) == (0, "")
        row = next(line for line in out.splitlines() if line.startswith("0 "))
        assert row.split()[:8] == ["0", "Conv2d", "6x32x32", "3", "1", "1", "168", "165,888"]
        assert "final convolutional place: 0 (pre), 1 (post)" in out

    def test_json_is_all_of_standard_output(self, here, convlens):
        status, out, _ = convlens("anatomy", "--model", MINE, "--json")
        assert status == 0
        found = json.loads(out)
        assert found["parameters"] == 3 * 3 * 3 * 6 + 6 + 6 * 4 + 4
        assert [layer["name"] for layer in found["layers"]] == ["0", "1", "2", "3", "4"]

    def test_layer_and_channel_and_size(self, here, convlens):
        _, out, _ = convlens(
            "anatomy", "--model", MINE, "--layer", "0", "--size", "16x20", "--json"
        )
        layers = json.loads(out)["layers"]
        assert [layer["output"] for layer in layers] == [[1, 6, 16, 20]]
        _, out, _ = convlens("anatomy", "--model", MINE, "--channel", "1:5", "--json")
        assert [layer["name"] for layer in json.loads(out)["layers"]] == ["1"]

    def test_bad_names(self, here, convlens):
        assert "nearest: 0" in one_line(convlens("anatomy", "--model", MINE, "--layer", "00"))
        assert "0 to 5" in one_line(convlens("anatomy", "--model", MINE, "--channel", "0:6"))
        assert "LAYER:K" in one_line(convlens("anatomy", "--model", MINE, "--channel", "0"))
        assert "224x320" in one_line(convlens("anatomy", "--model", MINE, "--size", "big"))


class TestFilters:
    def test_picture(self, here, convlens):
        status, out, _ = convlens("filters", "--model", MINE, "--out", "f", "--quiet")
        assert status == 0
        assert "6 filters of 3x3x3, stride 1; one scale for all" in out
        assert (here / "f" / "filters.png").is_file()

    def test_one_channel(self, here, convlens):
        _, out, _ = convlens(
            "filters", "--model", MINE, "--channel", "0:4", "--out", "f", "--json", "--quiet"
        )
        assert json.loads(out)["channels"] == [4]

    def test_by_kind_and_on_scales_of_their_own(self, here, convlens):
        words = ("filters", "--model", MINE, "--quiet", "--out")
        _, out, _ = convlens(*words, "f", "--sort")
        assert "6 cannot tell, as 3 x 3 weights are too few to judge" in out
        _, out, _ = convlens(*words, "g", "--own-scale")
        assert "each on its own scale" in out and "cannot be compared" in out
        plain, own = ((here / name / "filters.png").read_bytes() for name in ("f", "g"))
        assert plain != own
        error = one_line(convlens(*words, "h", "--fit", "--own-scale"))
        assert "--fit and --own-scale do not go together" in error
        error = one_line(convlens(*words, "h", "--sort", "--channel", "0:1"))
        assert "--sort and --channel" in error

    def test_network_without_convolutions(self, here, convlens):
        error = one_line(convlens("filters", "--model", "python:mine.py:dense", "--quiet"))
        assert "no convolution" in error
        assert not (here / "convlens-filters").exists()


class TestGradCam:
    def test_folder_and_numbers(self, here, convlens):
        status, out, err = convlens(
            "gradcam", "a.png", "b.png", "--model", MINE, "--class", "cat", "--class", "0",
            "--out", "g", "--quiet",
        )  # fmt: skip
        assert (status, err) == (0, "")
        assert [line.split()[:2] for line in out.splitlines()[1:5]] == [
            ["a.png", "cat"], ["a.png", "ant"], ["b.png", "cat"], ["b.png", "ant"],
        ]  # fmt: skip
        result = GradCam.load(here / "g" / "a.png")
        assert result.names == (("cat", "ant"),)
        assert len(list((here / "g" / "a.png").glob("*.png"))) == 2
        numbers = json.loads((here / "g" / "numbers.json").read_text())
        assert numbers["photos"]["b.png"]["classes"] == [[2, 0]]

    def test_damaged_photo_is_left_out_and_named(self, here, convlens):
        (here / "bad.jpg").write_bytes(b"\xff\xd8\xff rubbish")
        words = ("gradcam", "a.png", "bad.jpg", "--model", MINE, "--out", "g", "--json", "--quiet")
        status, out, err = convlens(*words)
        assert status == 0
        assert "left out" in err
        assert "bad.jpg" in err
        assert list(json.loads(out)["skipped"]) == ["bad.jpg"]
        assert "bad.jpg" in one_line(convlens(*words, "--strict"))

    def test_nothing_is_left_of_a_failure(self, here, convlens):
        error = one_line(
            convlens("gradcam", "a.png", "--model", MINE, "--class", "cta", "--out", "g", "--quiet")
        )
        assert "nearest: cat" in error
        assert not (here / "g").exists()
        assert {path.name for path in here.iterdir()} <= {
            "a.png",
            "b.png",
            "mine.py",
            "__pycache__",
        }

    def test_somebody_elses_folder_is_not_replaced(self, here, convlens):
        (here / "photos").mkdir()
        (here / "photos" / "precious.txt").write_text("mine")
        one_line(convlens("gradcam", "a.png", "--model", MINE, "--out", "photos", "--quiet"))
        assert (here / "photos" / "precious.txt").read_text() == "mine"

    def test_network_without_convolutions(self, here, convlens):
        error = one_line(convlens("gradcam", "a.png", "--model", "python:mine.py:dense", "--quiet"))
        assert "no final convolutional place" in error

    def test_nan_in_weights(self, here, convlens):
        error = one_line(
            convlens("gradcam", "a.png", "--model", "python:mine.py:broken", "--quiet")
        )
        assert "4.bias" in error

    def test_difference_strip_channels_and_cells(self, here, convlens):
        status, out, err = convlens(
            "gradcam", "a.png", "--model", MINE, "--class", "cat - dog", "--layer", "0", "--layer",
            "1", "--channels", "2", "--cells", "--out", "g", "--quiet",
        )  # fmt: skip
        assert (status, err) == (0, "")
        assert "cat - dog" in out and out.count("0:") >= 2
        assert len(list((here / "g" / "a.png").glob("*.png"))) == 1
        with (here / "g" / "scores.csv").open(newline="") as file:
            assert [row["layer"] for row in csv.DictReader(file)] == ["0", "1"]

    def test_boxes_evidence_and_sanity_check(self, here, convlens):
        (here / "boxes.csv").write_text(
            "file,class,left,top,right,bottom\na.png,dog,0,0,40,50\nb.png,bee,0,0,9,9\n"
        )
        words = ("gradcam", "a.png", "b.png", "--model", MINE, "--boxes", "boxes.csv", "--quiet")
        status, out, _ = convlens(*words, "--evidence", "--randomise", "--out", "g")
        assert status == 0
        assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
            ["a.png", "dog"], ["b.png", "bee"],
        ]  # fmt: skip
        assert "of 2 maps (the image's middle in 1)" in out
        assert "rank correlation" in out
        assert (here / "g" / "randomisation" / "randomisation.png").is_file()
        assert (here / "g" / "a.png" / "evidence-1" / "result.json").is_file()
        (here / "boxes.csv").write_text("file,class,left,top,right,bottom\na.png,cta,0,0,1,1\n")
        assert "line 2" in one_line(convlens(*words, "--out", "h"))

    def test_segmentation_by_class_and_by_pixel(self, here, convlens):
        words = ("gradcam", "a.png", "--model", "python:mine.py:masks", "--size", "32", "--quiet")
        status, out, _ = convlens(*words, "--class", "1", "--json", "--out", "g")
        assert status == 0
        assert json.loads(out)["photos"]["a.png"]["classes"] == [[1]]
        status, out, _ = convlens(*words, "--pixel", "3,5", "--top", "2", "--out", "h")
        assert status == 0 and len(GradCam.load(here / "h" / "a.png").names[0]) == 2
        assert "pixel 3,40" in one_line(convlens(*words, "--pixel", "3,40", "--out", "i"))
        for word in ("--evidence", "--randomise"):
            assert "needs one vector" in one_line(convlens(*words, word, "--out", "j"))
        assert not list(here.glob("*.unfinished")) and not (here / "j").exists()

    def test_a_run_that_was_killed_goes_on(self, here, convlens, monkeypatch):
        import convlens.sweep.gradcam as room

        words = ("gradcam", "a.png", "b.png", "--model", MINE, "--quiet")
        convlens(*words, "--out", "whole")
        with monkeypatch.context() as patched:
            patched.setattr(room, "finish", lambda *rest, **words: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                convlens(*words, "--out", "parts")
        assert (here / "parts.unfinished").is_dir() and not (here / "parts").exists()
        assert "give --resume" in one_line(convlens(*words, "--out", "parts"))
        assert convlens(*words, "--out", "parts", "--resume")[0] == 0
        assert not (here / "parts.unfinished").exists()
        one, other = (
            {path.relative_to(here / name): path.read_bytes() for path in (here / name).rglob("*.*")
             if path.is_file()}
            for name in ("whole", "parts")
        )  # fmt: skip
        assert one == other

    def test_default_network_sees_the_cat(self, here, convlens):
        _, out, _ = convlens("gradcam", CAT, "--out", "g", "--json", "--quiet")
        found = json.loads(out)["photos"]["chelsea.png"]
        assert found["names"] == [["tiger cat"]]
        assert found["layer"] == ["bn2/batch_norm"]


class TestFgsm:
    def test_epsilons(self, here, convlens):
        status, out, _ = convlens(
            "fgsm", "a.png", "--model", MINE, "--epsilon", "2/255, 0.5", "--out", "f", "--json",
            "--quiet",
        )  # fmt: skip
        assert status == 0
        found = json.loads(out)["photos"]["a.png"]
        assert found["epsilons"] == pytest.approx([2 / 255, 0.5])
        assert (here / "f" / "a.png" / "0-epsilon-2of255.png").is_file()

    def test_labels(self, here, convlens):
        with (here / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file", "class"], ["a.png", "dog"], ["b.png", "bee"]])
        words = ("fgsm", "a.png", "b.png", "--model", MINE, "--labels", "labels.csv", "--json")
        _, out, _ = convlens(*words, "--quiet")
        found = json.loads(out)["photos"]
        assert [found[name]["names"] for name in ("a.png", "b.png")] == [["dog"], ["bee"]]

    def test_labels_go_by_file_name_also_where_two_are_alike(self, here, convlens):
        (here / "more").mkdir()
        (here / "a.png").rename(here / "more" / "b.png")
        (here / "labels.csv").write_text("file,class\nb.png,bee\n")
        words = ("fgsm", "b.png", "more/b.png", "--model", MINE, "--labels", "labels.csv")
        _, out, _ = convlens(*words, "--json", "--quiet")
        found = json.loads(out)["photos"]
        assert {name: one["names"] for name, one in found.items()} == {
            "b.png": ["bee"], "2-b.png": ["bee"],
        }  # fmt: skip

    def test_curve_over_several_photos(self, here, convlens):
        words = ("fgsm", "a.png", "b.png", "--model", MINE, "--epsilon", "4/255,8/255")
        status, out, _ = convlens(*words, "--out", "f", "--show", 1, "--pgd", 2)
        assert status == 0
        assert "2 photos, with 95 % intervals; PGD: 2 steps" in out
        assert "pictures of 1 photo, evenly" in out
        assert (here / "f" / "curve" / "curve.png").is_file()
        assert not (here / "f.unfinished").exists()
        numbers = json.loads((here / "f" / "numbers.json").read_text())
        assert list(numbers["photos"]) == ["a.png"]
        curve = numbers["curve"]
        assert curve["epsilons"] == pytest.approx([0, 4 / 255, 8 / 255])
        assert [one["name"] for one in curve["curves"]] == ["FGSM", "random signs", "PGD"]
        assert "nothing to go on with" in one_line(convlens(*words, "--resume"))

    def test_the_flip_is_a_file_read_back(self, here, convlens):
        status, out, _ = convlens("fgsm", "a.png", "--model", MINE, "--out", "f")
        assert status == 0
        assert "8-bit PNGs, read back" in out
        found = json.loads((here / "f" / "numbers.json").read_text())["photos"]["a.png"]["flips"]
        assert (f"{found['first'][0]}/255" if found["first"][0] else "not by 16/255") in out
        assert (here / "f" / "a.png" / "flip" / "0-flip.png").is_file()

    def test_towards_a_class(self, here, convlens):
        words = ("fgsm", "a.png", "--model", MINE, "--out", "f", "--quiet")
        _, out, _ = convlens(*words, "--target", "dog", "--loss", "margin", "--json")
        found = json.loads(out)["photos"]["a.png"]
        assert (found["names"], found["against_is"]) == (["dog"], ["target"])
        assert found["loss_is"] == "margin"
        assert "more than one" in one_line(convlens(*words, "--target", "dog", "--class", "cat"))
        assert "loss 'x'" in one_line(convlens(*words, "--loss", "x"))

    @pytest.mark.parametrize("epsilon", ["much", "8", "-1/255", "1/0", ""])
    def test_bad_epsilon(self, here, convlens, epsilon):
        words = ("fgsm", "a.png", "--model", MINE, f"--epsilon={epsilon}", "--quiet")
        assert "8/255" in one_line(convlens(*words))


class TestShift:
    def test_layers_answers_and_map(self, here, convlens):
        words = ("shift", "a.png", "b.png", "--model", MINE, "--out", "s", "--every", 1)
        status, out, _ = convlens(*words)
        assert status == 0
        assert "1 px: inside" in out and "crop" in out and "circular" in out
        assert "2 photos, two views of each" in out
        assert (here / "s" / "offsets-crop.png").is_file()
        assert not (here / "s.unfinished").exists()
        _, out, _ = convlens(*words, "--pixels", "2", "--json", "--quiet")
        assert json.loads(out)["equivariance"]["shifts"] == [[2, 2]]

    def test_channel(self, here, convlens):
        words = ("shift", "a.png", "b.png", "--model", MINE, "--out", "s")
        status, out, _ = convlens(*words, "--channel", "0:3", "--channel", "0:1")
        assert status == 0
        assert {line.split()[0] for line in out.splitlines()[1:3]} == {"0:3", "0:1"}
        assert (here / "s" / "invariance.png").is_file()
        assert "0 to 5" in one_line(convlens(*words, "--channel", "0:6"))

    def test_grandmothers(self, here, convlens):
        for number in range(10):
            (here / f"{number}.png").write_bytes((here / "a.png").read_bytes())
        rows = "".join(f"{number}.png,{'dog' if number < 5 else 'cat'}\n" for number in range(10))
        (here / "labels.csv").write_text("file,class\n" + rows)
        words = ("grandmothers", *(f"{number}.png" for number in range(10)), "--model", MINE)
        status, out, _ = convlens(*words, "--labels", "labels.csv", "--out", "g")
        assert status == 0
        assert "selectivity" in out and "0.500" in out  # ten equal photos tell nothing apart
        assert "6 channels of" in out

    @pytest.mark.parametrize(
        ("words", "message"),
        [(("--pixels", "x"), "by commas"), (("--pixels", "40"), "a shift of 40"),
         (("--channel", "0"), "LAYER:K"), (("--resume",), "nothing to go on with")],
    )  # fmt: skip
    def test_bad_input(self, here, convlens, words, message):
        assert message in one_line(convlens("shift", "a.png", "--model", MINE, *words, "--quiet"))


class TestPatches:
    def test_tables_and_pictures(self, here, convlens):
        status, out, _ = convlens(
            "patches", "a.png", "b.png", "--model", MINE, "--top", 2, "--out", "p"
        )
        assert status == 0
        assert "2 photos" in out
        assert (here / "p" / "0.png").exists()
        saved = Result.load(here / "p")
        assert saved.layers[0].values.shape == (6, 2)
        assert not (here / "p.unfinished").exists()

    def test_channels_asked_for(self, here, convlens):
        status, out, _ = convlens("patches", "a.png", "--model", MINE, "--channel", "0:3",
                                  "--channel", "0:5", "--json", "--out", "p")  # fmt: skip
        assert status == 0
        shown = json.loads(out)["layers"][0]["shown"]
        assert [one["channel"] for one in shown] == [3, 5]
        assert "6 channels, 0 to 5; given 6" in one_line(
            convlens("patches", "a.png", "--model", MINE, "--channel", "0:6")
        )
        assert "is not LAYER:K" in one_line(
            convlens("patches", "a.png", "--model", MINE, "--channel", "0")
        )

    def test_going_on(self, here, convlens):
        words = ("patches", "a.png", "b.png", "--model", MINE, "--out", "p")
        assert "nothing to go on with" in one_line(convlens(*words, "--resume"))
        (here / "p.unfinished").mkdir()
        assert "--resume to go on" in one_line(convlens(*words))
        status, _, _ = convlens(*words, "--resume")
        assert status == 0
        assert not (here / "p.unfinished").exists()

    def test_a_place_that_cannot_be_written_is_told_before_the_work(
        self, here, convlens, monkeypatch
    ):
        def never(*_, **__):
            raise AssertionError

        monkeypatch.setattr("convlens.sweep.patches.sweep", never)
        words = ("patches", "a.png", "--model", MINE, "--out")
        assert "its folder does not exist" in one_line(convlens(*words, "no/where"))
        assert "it is a file" in one_line(convlens(*words, "a.png"))
        assert "holds other files" in one_line(convlens(*words, "."))

    def test_bad_input(self, here, convlens):
        (here / "bad.png").write_bytes(b"\x89PNG")
        status, _, err = convlens("patches", "a.png", "bad.png", "--model", MINE)
        assert status == 0
        assert "left out: bad.png" in err
        assert "none of 1 photos" in one_line(convlens("patches", "bad.png", "--model", MINE))
        assert "no convolution" in one_line(
            convlens("patches", "a.png", "--model", "python:mine.py:dense")
        )


class TestMaximize:
    def test_targets_of_every_kind(self, here, convlens):
        photos = ("patches", "a.png", "b.png", "--model", "python:mine:tiny", "--out", "known")
        assert convlens(*photos)[0] == 0
        status, out, err = convlens(
            "maximize", "--channel", "0:3", "--channel=-0:3", "--unit", "0:1@4,5", "--class", "bee",
            "--class", "bee - dog", "--steps", 4, "--seeds", 2, "--known", "known",
            "--model", "python:mine:tiny",
        )  # fmt: skip
        assert status == 0, err
        rows = [line.split("  ")[0] for line in out.splitlines()]
        assert rows[1:6] == ["0:3", "-0:3", "0:1@4,5", "bee", "bee - dog"]
        assert "of 2 photos" in out
        assert "rank" in out
        found = Result.load("convlens-maximize")
        assert [one.images.shape[0] for one in found.maxima] == [2] * 5
        assert len(list(Path("convlens-maximize").glob("*.png"))) == 11

    def test_numbers_and_a_photo_to_begin_with(self, here, convlens):
        status, out, _ = convlens(
            "maximize", "--class", "bee", "--steps", 2, "--photo", "a.png", "--objective",
            "probability", "--parameterisation", "pixels", "--json", "--model", "python:mine:tiny",
        )  # fmt: skip
        assert status == 0
        assert json.loads(out)["maxima"][0]["target"] == "bee"

    def test_bad_input(self, here, convlens):
        run = ("maximize", "--model", "python:mine:tiny")
        assert "nothing to maximise" in one_line(convlens(*run))
        assert "0 steps" in one_line(convlens(*run, "--class", "bee", "--steps", 0))
        assert "unknown class 'be'; nearest: bee" in one_line(convlens(*run, "--class", "be"))
        assert "0 has 6 channels" in one_line(convlens(*run, "--channel", "0:6"))
        assert "holds no whole result" in one_line(
            convlens(*run, "--class", "bee", "--known", "nowhere")
        )
        assert not Path("convlens-maximize").exists()


def test_tuning(here, convlens):
    status, out, _ = convlens("tuning", "--model", MINE, "--orientations", 4, "--out", "t")
    assert status == 0
    assert "512 gratings of 16 x 16 pixels" in out
    assert (here / "t" / "tuning.png").exists()
    assert "no convolution" in one_line(convlens("tuning", "--model", "python:mine.py:dense"))


class TestDream:
    WORDS = ("dream", "a.png", "--model", MINE, "--octaves", 2, "--steps", 2, "--quiet")

    def test_pictures_and_numbers(self, here, convlens):
        status, out, err = convlens(*self.WORDS, "--out", "d")
        assert (status, err) == (0, "")
        assert "0: the last convolution whose units see no more than an image of 32 x 32" in out
        assert "½‖a‖² of the pre-activations at 0 is" in out
        with Image.open(here / "d" / "dream.png") as made:
            assert made.size == (40, 50)
        words = (*self.WORDS, "--channel", "0:3", "--size", 25, "--json", "--out", "e")
        _, out, _ = convlens(*words)
        told = json.loads(out)
        assert (told["layer"], told["channel"], told["sizes"]) == ("0", 3, [[18, 14], [25, 20]])
        _, out, _ = convlens(*self.WORDS, "--guide", "b.png", "--out", "g")
        assert "the dot product with the guide's features" in out

    def test_bad_input(self, here, convlens):
        for more, words in (
            (("--layer", "2"), "not feature maps"),
            (("--layer", "00"), "nearest: 0"),
            (("--channel", "x"), "give K, for example 17, or LAYER:K"),
            (("--channel", "0:6"), "0 to 5; given 6"),
            (("--layer", "1", "--channel", "0:1"), "not one of --layer 1"),
            (("--steps", 0), "steps 0"),
            (("--guide", "no.png"), "no.png does not exist"),
            (("--out", "no/where"), "its folder does not exist"),
        ):
            assert words in one_line(convlens(*self.WORDS, *more))
        (here / "bad.png").write_bytes(b"\x89PNG")
        assert "bad.png" in one_line(convlens("dream", "bad.png", "--model", MINE, "--quiet"))
        assert not (here / "convlens-dream").exists()

    def test_interrupted_it_keeps_what_there_is(self, here, convlens, monkeypatch):
        import convlens.views.synthesis.dream as room

        real = room.dream

        def stopped(*arguments, progress, **options):
            def stop(done, total):
                if done == 2:
                    signal.raise_signal(signal.SIGINT)

            return real(*arguments, progress=stop, **options)

        monkeypatch.setattr(room, "dream", stopped)
        status, out, _ = convlens(*self.WORDS, "--out", "d")
        assert status == 130
        assert "interrupted in octave 1 of 2, step 2 of 2" in out
        with Image.open(here / "d" / "dream.png") as made:
            assert made.size == (40, 50)


def test_maps_and_cortex(here, convlens):
    status, out, _ = convlens("maps", "a.png", "--model", MINE, "--pool", "max", "--out", "m")
    assert status == 0
    assert "0 (1): 6 maps of 32 x 32; one scale for all" in out
    assert (here / "m" / "pooled.png").exists()
    assert "no pooling 'mx'" in one_line(convlens("maps", "a.png", "--model", MINE, "--pool", "mx"))
    status, out, _ = convlens("cortex", "a.png", "--size", 48, "--orientations", 4, "--out", "c")
    assert status == 0
    assert "45°" in out
    assert (here / "c" / "complex.png").exists()
    assert "give 2 to 48" in one_line(convlens("cortex", "a.png", "--size", 48, "--wavelength", 60))


def test_fits(here, convlens):
    (here / "large.py").write_text(
        "import torch, convlens\n"
        "def stem(): torch.manual_seed(0); return torch.nn.Conv2d(3, 4, 7)\n"
    )
    status, out, _ = convlens("filters", "--fit", "--model", "python:large.py:stem", "--out", "f")
    assert status == 0
    assert "4 filters of " in out and "4 other" in out
    assert (here / "f" / "fits.png").exists()
    status, out, _ = convlens("filters", "--fit", "--model", MINE, "--out", "g")
    assert "too few to judge" in out


def test_field(here, convlens):
    status, out, _ = convlens(
        "field", "a.png", "--model", MINE, "--layer", "0", "--at", "0,4", "--out", "f"
    )
    assert status == 0
    assert "rows -1 to 1 and columns 3 to 5" in out
    assert (here / "f" / "field.png").exists()
    assert "is not Y,X" in one_line(
        convlens("field", "a.png", "--model", MINE, "--layer", "0", "--at", "3")
    )


def test_train(here, convlens):
    status, out, err = convlens("train", "--epochs", 1, "--out", "run", "--device", "cpu")
    assert status == 0
    assert "of 179 images right that it was not trained on" in out
    assert "epoch 1/1" in err
    status, out, _ = convlens("train", "--epochs", 1, "--out", "run", "--device", "cpu", "--json")
    assert json.loads(out)["recipe"]["epochs"] == 1
    assert "epochs 1, now 2" in one_line(
        convlens("train", "--epochs", 2, "--out", "run", "--device", "cpu", "--quiet")
    )
    assert "no data 'nowhere'" in one_line(convlens("train", "nowhere", "--quiet"))


def test_doctor(here, convlens):
    status, out, _ = convlens("doctor", "a.png", "b.png", "--model", MINE, "--quiet")
    assert status == 0
    assert "cannot tell: 2 photos are too few" in out


def test_models(convlens):
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


def test_unwritable_folder(here, convlens):
    (here / "file").write_text("")
    words = ("filters", "--model", MINE, "--out", "file/under", "--quiet")
    assert "file" in one_line(convlens(*words))


def test_interrupt_leaves_nothing_half_written(here, convlens, monkeypatch):
    import convlens.sweep.gradcam as room

    real, calls = room.GradCam.keep, []

    def second_time(*arguments, **options):
        calls.append(time.time())
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(room.GradCam, "keep", second_time)
    status, _, _ = convlens("gradcam", "a.png", "b.png", "--model", MINE, "--out", "g", "--quiet")
    assert status != 0
    assert not (here / "g").exists()


def test_a_network_of_ones_own_needs_no_model(here, convlens):
    status, out, _ = convlens("anatomy", "--model", "python:mine.py:network", "--size", "32")
    assert status == 0
    assert "Conv2d" in out
