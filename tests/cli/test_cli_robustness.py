"""The fgsm, shift and selectivity commands."""

import csv
import json

import pytest

from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"


class TestFgsm:
    def test_epsilons(self, here, convlens):
        status, out, _ = convlens(
            "fgsm", "a.png", "--model", MINE, "--epsilons", "2/255, 0.5", "--out", "f", "--json",
            "--quiet",
        )  # fmt: skip
        assert status == 0
        numbers = json.loads(out)["photos"]["a.png"]
        assert numbers["epsilons"] == pytest.approx([2 / 255, 0.5])
        assert len(list((here / "f" / "a.png").glob("a-epsilon_2_of_255_*.png"))) == 1

    def test_labels(self, here, convlens):
        with (here / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file", "class"], ["a.png", "dog"], ["b.png", "bee"]])
        words = ("fgsm", "a.png", "b.png", "--model", MINE, "--labels", "labels.csv", "--json")
        _, out, _ = convlens(*words, "--quiet")
        numbers = json.loads(out)["photos"]
        assert [numbers[name]["names"] for name in ("a.png", "b.png")] == [["dog"], ["bee"]]

    def test_labels_of_photos_of_one_name(self, here, convlens):
        (here / "more").mkdir()
        (here / "a.png").rename(here / "more" / "b.png")
        (here / "labels.csv").write_text("file,class\nb.png,bee\n")
        words = ("fgsm", "b.png", "more/b.png", "--model", MINE, "--labels", "labels.csv")
        error = one_line(convlens(*words))
        assert "'b.png' is the name of b.png and of more/b.png; write as much" in error
        assert not (here / "convlens-fgsm").exists()
        (here / "labels.csv").write_text("file,class\nb.png,bee\nmore/b.png,cat\n")
        _, out, _ = convlens(*words, "--json", "--quiet")
        numbers = json.loads(out)["photos"]
        assert {name: figures["names"] for name, figures in numbers.items()} == {
            "b.png": ["bee"], "more-b.png": ["cat"],
        }  # fmt: skip
        (here / "labels.csv").write_text("file,class\nc.png,bee\n")
        error = one_line(convlens(*words, "--overwrite"))
        assert "names none of the photos: it has c.png, and" in error

    def test_curve_over_several_photos(self, here, convlens):
        words = ("fgsm", "a.png", "b.png", "--model", MINE, "--epsilons", "4/255,8/255")
        status, out, _ = convlens(*words, "--out", "f", "--show", 1, "--pgd-steps", 2)
        assert status == 0
        assert "2 photos, with 95 % intervals; PGD: 2 steps" in out
        assert "pictures of 1 photo, evenly" in out
        assert (here / "f" / "curve" / "curve.png").is_file()
        assert not (here / "f.unfinished").exists()
        numbers = json.loads((here / "f" / "numbers.json").read_text())
        assert list(numbers["photos"]) == ["a.png"]
        curve = numbers["curve"]
        assert curve["epsilons"] == pytest.approx([0, 4 / 255, 8 / 255])
        assert [entry["name"] for entry in curve["curves"]] == ["FGSM", "random signs", "PGD"]
        assert "nothing to resume" in one_line(convlens(*words, "--resume"))

    def test_the_flip_is_a_file_read_back(self, here, convlens):
        status, out, _ = convlens("fgsm", "a.png", "--model", MINE, "--out", "f")
        assert status == 0
        assert "8-bit PNGs, read back" in out
        numbers = json.loads((here / "f" / "numbers.json").read_text())["photos"]["a.png"]["flip"]
        assert (
            f"{numbers['flip_levels'][0]}/255" if numbers["flip_levels"][0] else "not by 16/255"
        ) in out
        (name,) = {path.name for path in (here / "f" / "a.png" / "flip").glob("a-*.png")}
        level = numbers["flip_levels"][0]
        flip = f"flip_at_{level}" if level else "no_flip_up_to_16"
        assert name == f"a-{flip}_of_255_{numbers['names'][0]}.png"

    def test_towards_a_class(self, here, convlens):
        words = ("fgsm", "a.png", "--model", MINE, "--out", "f", "--quiet", "--overwrite")
        _, out, _ = convlens(*words, "--target", "dog", "--loss", "margin", "--json")
        numbers = json.loads(out)["photos"]["a.png"]
        assert (numbers["names"], numbers["class_origins"]) == (["dog"], ["target"])
        assert numbers["loss"] == "margin"
        assert "more than one" in one_line(convlens(*words, "--target", "dog", "--class", "cat"))
        assert "'x' is not one of" in one_line(convlens(*words, "--loss", "x"))

    @pytest.mark.parametrize("epsilon", ["much", "8", "-1/255", "1/0", ""])
    def test_bad_epsilon(self, here, convlens, epsilon):
        words = ("fgsm", "a.png", "--model", MINE, f"--epsilons={epsilon}", "--quiet")
        assert "8/255" in one_line(convlens(*words))


class TestShift:
    def test_layers_answers_and_map(self, here, convlens):
        words = ("shift", "a.png", "b.png", "--model", MINE, "--out", "s", "--every", 1)
        status, out, _ = convlens(*words)
        assert status == 0
        assert "1 px: inside" in out and "crop" in out and "circular" in out
        assert "2 photos, two views of each" in out
        assert len(list((here / "s").glob("offsets_crop_*.png"))) == 1
        assert not (here / "s.unfinished").exists()
        _, out, _ = convlens(*words, "--shifts", "2", "--json", "--quiet", "--overwrite")
        assert json.loads(out)["equivariance"]["shifts"] == [[2, 2]]

    def test_channel(self, here, convlens):
        words = ("shift", "a.png", "b.png", "--model", MINE, "--out", "s")
        status, out, _ = convlens(*words, "--channel", "0:3", "--channel", "0:1")
        assert status == 0
        assert {line.split()[0] for line in out.splitlines()[1:3]} == {"0:3", "0:1"}
        assert (here / "s" / "invariance_of_0.png").is_file()
        assert "0 to 5" in one_line(convlens(*words, "--overwrite", "--channel", "0:6"))

    def test_selectivity(self, here, convlens):
        for number in range(10):
            (here / f"{number}.png").write_bytes((here / "a.png").read_bytes())
        rows = "".join(f"{number}.png,{'dog' if number < 5 else 'cat'}\n" for number in range(10))
        (here / "labels.csv").write_text("file,class\n" + rows)
        words = ("selectivity", *(f"{number}.png" for number in range(10)), "--model", MINE)
        status, out, _ = convlens(*words, "--labels", "labels.csv", "--out", "g")
        assert status == 0
        assert "selectivity" in out and "0.500" in out  # ten equal photos tell nothing apart
        assert "6 channels of" in out

    @pytest.mark.parametrize(
        ("words", "message"),
        [(("--shifts", "x"), "write them with commas"), (("--shifts", "40"), "a shift of 40"),
         (("--channel", "0"), "LAYER:K"), (("--resume",), "nothing to resume")],
    )  # fmt: skip
    def test_bad_input(self, here, convlens, words, message):
        assert message in one_line(convlens("shift", "a.png", "--model", MINE, *words, "--quiet"))
