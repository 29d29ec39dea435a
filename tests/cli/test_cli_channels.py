"""Commands that show what excites channels: patches, maximize, dream."""

import json
import signal
from pathlib import Path
from typing import Any

from PIL import Image

from convlens.results import Result
from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"


class TestPatches:
    def test_tables_and_pictures(self, here, convlens):
        status, out, _ = convlens(
            "patches", "a.png", "b.png", "--model", MINE, "--top", 2, "--out", "p"
        )
        assert status == 0
        assert "2 photos" in out
        assert (here / "p" / "0.png").exists()
        saved: Any = Result.load(here / "p")
        assert saved.layers[0].values.shape == (6, 2)
        assert not (here / "p.unfinished").exists()

    def test_channels_asked_for(self, here, convlens):
        status, out, _ = convlens("patches", "a.png", "--model", MINE, "--channel", "0:3",
                                  "--channel", "0:5", "--json", "--out", "p")  # fmt: skip
        assert status == 0
        data = json.loads(out)
        loaded: Any = Result.load(here / "p")
        shown, saved = data["layers"][0]["shown"], loaded.layers[0]
        assert [channel["channel"] for channel in shown] == [3, 5]
        assert "labels" not in data
        for entry in shown:
            assert entry["values"] == saved.values[entry["channel"], :1].tolist()
            assert entry["photos"] == ["a.png"]
            assert entry["positions_fired"] == int(saved.positions_fired[entry["channel"]])
        assert "6 channels, 0 to 5; given 6" in one_line(
            convlens("patches", "a.png", "--model", MINE, "--channel", "0:6")
        )
        assert "is not LAYER:K" in one_line(
            convlens("patches", "a.png", "--model", MINE, "--channel", "0")
        )

    def test_going_on(self, here, convlens):
        words = ("patches", "a.png", "b.png", "--model", MINE, "--out", "p")
        assert "nothing to resume" in one_line(convlens(*words, "--resume"))
        (here / "p.unfinished").mkdir()
        assert "--resume to continue" in one_line(convlens(*words))
        status, _, _ = convlens(*words, "--resume")
        assert status == 0
        assert not (here / "p.unfinished").exists()

    def test_a_place_that_cannot_be_written_is_reported_before_the_work(
        self, here, convlens, monkeypatch
    ):
        def never(*_, **__):
            raise AssertionError

        monkeypatch.setattr("convlens.analyses.patches.dataset_pass.run_reducer", never)
        words = ("patches", "a.png", "--model", MINE, "--out")
        assert "a.png is a file; give" in one_line(convlens(*words, "a.png/where"))
        assert "it is a file" in one_line(convlens(*words, "a.png"))
        assert "holds other files" in one_line(convlens(*words, "."))

    def test_bad_input(self, here, convlens):
        (here / "bad.png").write_bytes(b"\x89PNG")
        status, _, err = convlens("patches", "a.png", "bad.png", "--model", MINE)
        assert status == 0
        assert "left out: bad.png" in err
        words = ("patches", "--overwrite", "--model")
        assert "none of 1 photos" in one_line(convlens(*words, MINE, "bad.png"))
        assert "no convolution" in one_line(convlens(*words, "python:mine.py:dense", "a.png"))


class TestMaximize:
    def test_targets_of_every_kind(self, here, convlens):
        photos = ("patches", "a.png", "b.png", "--model", "python:mine:tiny", "--out", "known")
        assert convlens(*photos)[0] == 0
        status, out, err = convlens(
            "maximize", "--channel", "0:3", "--channel=-0:3", "--unit", "0:1@4,5", "--class", "bee",
            "--class", "bee - dog", "--steps", 4, "--seeds", 2, "--patches", "known",
            "--model", "python:mine:tiny",
        )  # fmt: skip
        assert status == 0, err
        rows = [line.split("  ")[0] for line in out.splitlines()]
        assert rows[1:6] == ["0:3", "-0:3", "0:1@4,5", "bee", "bee - dog"]
        assert "of 2 photos" in out
        assert "rank" in out
        maximization: Any = Result.load("convlens-maximize")
        assert [maximum.images.shape[0] for maximum in maximization.maxima] == [2] * 5
        assert len(list(Path("convlens-maximize").glob("*_seed_*.png"))) == 10

    def test_numbers_and_a_photo_to_begin_with(self, here, convlens):
        status, out, _ = convlens(
            "maximize", "--class", "bee", "--steps", 2, "--start", "a.png", "--class-score",
            "probability", "--parameterization", "pixels", "--json", "--model", "python:mine:tiny",
        )  # fmt: skip
        assert status == 0
        assert json.loads(out)["maxima"][0]["objective"] == "bee"

    def test_bad_input(self, here, convlens):
        run = ("maximize", "--model", "python:mine:tiny")
        assert "nothing to maximize" in one_line(convlens(*run))
        assert "not '0'" in one_line(convlens(*run, "--class", "bee", "--steps", 0))
        assert "unknown class 'be'; nearest: bee" in one_line(convlens(*run, "--class", "be"))
        assert "0 has 6 channels" in one_line(convlens(*run, "--channel", "0:6"))
        # The number alone would be a class.
        assert "names no layer; give LAYER:K, or --class 1" in one_line(
            convlens(*run, "--channel", "1")
        )
        assert "give LAYER:K@Y,X" in one_line(convlens(*run, "--unit", "1"))
        assert "nowhere does not exist" in one_line(
            convlens(*run, "--class", "bee", "--patches", "nowhere")
        )
        assert not Path("convlens-maximize").exists()


class TestDream:
    WORDS = ("dream", "a.png", "--model", MINE, "--octaves", 2, "--steps", 2, "--quiet")

    def test_pictures_and_numbers(self, here, convlens):
        status, out, err = convlens(*self.WORDS, "--out", "d")
        assert (status, err) == (0, "")
        assert "0: the last convolution whose units see no more than an image of 32 × 32" in out
        assert "½‖a‖² of the pre-activations at 0 is" in out
        with Image.open(here / "d" / "a-dream_of_0.png") as picture:
            assert picture.size == (40, 50)
        words = (*self.WORDS, "--channel", "0:3", "--image-size", 25, "--json", "--out", "e")
        _, out, _ = convlens(*words)
        data = json.loads(out)
        assert (data["layer"], data["channel"], data["sizes"]) == ("0", 3, [[18, 14], [25, 20]])
        _, out, _ = convlens(*self.WORDS, "--guide", "b.png", "--out", "g")
        assert "the dot product with the guide's features" in out

    def test_bad_input(self, here, convlens):
        for more, words in (
            (("--layer", "2"), "not maps"),
            (("--layer", "00"), "nearest: 0"),
            (("--channel", "x"), "give K, for example 17, or LAYER:K"),
            (("--channel", "0:6"), "0 to 5; given 6"),
            (("--layer", "1", "--channel", "0:1"), "not one of --layer 1"),
            (("--steps", 0), "'--steps': Input should be greater than or equal to 1, not '0'"),
            (("--guide", "no.png"), "no.png does not exist"),
            (("--out", "a.png/where"), "a.png is a file; give another place"),
        ):
            assert words in one_line(convlens(*self.WORDS, *more))
        (here / "bad.png").write_bytes(b"\x89PNG")
        assert "bad.png" in one_line(convlens("dream", "bad.png", "--model", MINE, "--quiet"))
        assert not (here / "convlens-dream").exists()

    def test_interrupted_it_keeps_what_there_is(self, here, convlens, monkeypatch):
        from convlens.analyses.deepdream import deepdream

        real = deepdream.dream

        def stopped(*arguments, progress, **options):
            def stop(done, total):
                if done == 2:
                    signal.raise_signal(signal.SIGINT)

            return real(*arguments, progress=stop, **options)

        monkeypatch.setattr(deepdream, "dream", stopped)
        status, out, _ = convlens(*self.WORDS, "--out", "d")
        assert status == 130
        assert "interrupted in octave 1 of 2, step 2 of 2" in out
        with Image.open(here / "d" / "a-dream_of_0.png") as picture:
            assert picture.size == (40, 50)
