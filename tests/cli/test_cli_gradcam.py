"""The command gradcam: folders, boxes, segmentation, and runs that stop."""

import csv
import json
import time
from pathlib import Path

import pytest

from convlens.analyses.gradcam.gradcam import GradCam
from convlens.models.loading.demo_photos import demo_photos
from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"

CAT = str(demo_photos()[0].path)


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
        names = {path.name for path in (here / "g" / "a.png").glob("*.png")}
        assert names == {"a-cat_at_0.png", "a-ant_at_0.png"}
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
        assert "bad.jpg" in one_line(convlens(*words, "--overwrite", "--strict"))

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
        assert "no final convolutional layer" in error

    def test_nan_in_weights(self, here, convlens):
        error = one_line(
            convlens("gradcam", "a.png", "--model", "python:mine.py:broken", "--quiet")
        )
        assert "4.bias" in error

    def test_difference_strip_channels_and_cells(self, here, convlens):
        status, out, err = convlens(
            "gradcam", "a.png", "--model", MINE, "--class", "cat - dog", "--layer", "0", "--layer",
            "1", "--side", "output", "--channels", "2", "--cells", "--out", "g", "--quiet",
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
        status, out, _ = convlens(*words, "--deletion-insertion", "--randomize", "--out", "g")
        assert status == 0
        assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
            ["a.png", "dog"], ["b.png", "bee"],
        ]  # fmt: skip
        assert "of 2 maps (the middle of the image in 1)" in out
        assert "rank correlation" in out
        assert (here / "g" / "randomization" / "randomization.png").is_file()
        assert (here / "g" / "a.png" / "deletion-insertion-1" / "result.json").is_file()
        (here / "boxes.csv").write_text("file,class,left,top,right,bottom\na.png,cta,0,0,1,1\n")
        assert "line 2" in one_line(convlens(*words, "--out", "h"))

    def test_boxes_of_photos_of_one_name(self, here, convlens):
        (here / "more").mkdir()
        (here / "a.png").rename(here / "more" / "b.png")
        table = here / "boxes.csv"
        table.write_text("file,class,left,top,right,bottom\nb.png,dog,0,0,40,50\n")
        words = ("gradcam", "b.png", "more/b.png", "--model", MINE, "--boxes", "boxes.csv")
        assert "is the name of b.png and of more/b.png" in one_line(convlens(*words, "--out", "g"))
        assert not (here / "g").exists() and not (here / "g.unfinished").exists()
        with table.open("a") as file:
            file.write("more/b.png,bee,0,0,9,9\n")
        _, out, _ = convlens(*words, "--out", "g", "--quiet")
        assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
            ["b.png", "dog"], ["more-b.png", "bee"],
        ]  # fmt: skip

    def test_segmentation_by_class_and_by_pixel(self, here, convlens):
        words = ("gradcam", "a.png", "--model", "python:mine.py:masks", "--size", "32", "--quiet")
        status, out, _ = convlens(*words, "--class", "1", "--json", "--out", "g")
        assert status == 0
        assert json.loads(out)["photos"]["a.png"]["classes"] == [[1]]
        status, out, _ = convlens(*words, "--pixel", "3,5", "--top", "2", "--out", "h")
        assert status == 0 and len(GradCam.load(here / "h" / "a.png").names[0]) == 2
        assert "pixel 3,40" in one_line(convlens(*words, "--pixel", "3,40", "--out", "i"))
        for word in ("--deletion-insertion", "--randomize"):
            assert "needs one vector" in one_line(convlens(*words, word, "--out", "j"))
        assert not list(here.glob("*.unfinished")) and not (here / "j").exists()

    def test_a_run_that_was_killed_goes_on(self, here, convlens, monkeypatch):
        from convlens.analyses.gradcam import dataset_pass

        words = ("gradcam", "a.png", "b.png", "--model", MINE, "--quiet")
        convlens(*words, "--out", "whole")
        with monkeypatch.context() as patched:
            patched.setattr(dataset_pass, "write_tables", lambda *rest, **words: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                convlens(*words, "--out", "parts")
        assert (here / "parts.unfinished").is_dir() and not (here / "parts").exists()
        assert "give --resume" in one_line(convlens(*words, "--out", "parts"))
        assert convlens(*words, "--out", "parts", "--resume")[0] == 0
        assert not (here / "parts.unfinished").exists()
        first, second = (
            {path.relative_to(here / name): path.read_bytes() for path in (here / name).rglob("*.*")
             if path.is_file()}
            for name in ("whole", "parts")
        )  # fmt: skip
        for name in ("index.html", "numbers.json"):  # which state the command
            first[Path(name)] = first[Path(name)].replace(b"--out whole", b"--out parts")
        assert first == second

    def test_default_network_sees_the_cat(self, here, convlens):
        _, out, _ = convlens("gradcam", CAT, "--out", "g", "--json", "--quiet")
        data = json.loads(out)["photos"]["chelsea.png"]
        assert data["names"] == [["tiger cat"]]
        assert data["nodes"] == ["bn2/batch_norm"]


def test_interrupt_leaves_nothing_half_written(here, convlens, monkeypatch):
    from convlens.analyses.gradcam import batch_work

    real, calls = batch_work.GradCam.save_data, []

    def second_time(*arguments, **options):
        calls.append(time.time())
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(batch_work.GradCam, "save_data", second_time)
    status, _, _ = convlens("gradcam", "a.png", "b.png", "--model", MINE, "--out", "g", "--quiet")
    assert status != 0
    assert not (here / "g").exists()
