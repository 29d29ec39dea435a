"""The commands that work through the chapter, each beside its Python call."""

import json

import pytest
from PIL import Image

import convlens as library
from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("convolution", library.convolution_arithmetic),
        (
            "convolution --random --seed 3 --padding 1 --stride 2 --bias 0.5",
            lambda: library.convolution_arithmetic(seed=3, padding=1, stride=2, bias=0.5),
        ),
        (
            "pooling --window 3 --stride 1 --shift 1,0 --shift 0,-2",
            lambda: library.pooling_arithmetic(window=3, stride=1, shifts=[(1, 0), (0, -2)]),
        ),
        (
            "window --size 9 --kernel 4 --padding same --stride 2",
            lambda: library.window_grid(9, 4, padding="same", stride=2),
        ),
        (
            "layer --channels-in 2 --channels-out 5 --kernel 5 --size 20 --padding 0 --no-bias",
            lambda: library.layer_arithmetic(2, 5, kernel=5, size=20, padding=0, bias=False),
        ),
        (
            "gabor --orientations 3 --wavelength 6 --wavelength 4 --phase 45 --sigma 2",
            lambda: library.gabor_bank(
                orientations=3, wavelengths=(6, 4), phases=(45.0,), sigma=2.0
            ),
        ),
        (
            "translation a.png --shift -2,3 --stride 2 --size 20",
            lambda: library.translation("a.png", shift=(-2, 3), stride=2, size=20),
        ),
    ],
)
def test_a_command_saves_what_the_call_returns(here, convlens, words, call):
    status, out, err = convlens(*words.split(), "--out", "saved")
    assert (status, err) == (0, "")
    assert str(here / "saved") in out
    assert library.Result.load("saved") == call()
    assert list((here / "saved").glob("*.png"))


def test_commands_with_a_network(here, convlens):
    model = library.load(MINE)
    for words, call in (
        (
            ["image", "a.png", "--at", "3,4"],
            lambda: library.image_tensor(model, "a.png", at=(3, 4)),
        ),
        (
            ["detector", "a.png", "--channel", "0:2@5,6"],
            lambda: library.feature_detector(model, "a.png", "0:2@5,6"),
        ),
    ):
        assert convlens(*words, "--model", MINE, "--quiet", "--out", words[0])[0] == 0
        assert library.Result.load(words[0]) == call()


def test_the_sums_are_printed(here, convlens):
    _, out, _ = convlens("convolution", "--image", "2 3; 4,5", "--filter", "1 -1")
    assert out.splitlines()[:2] == ["C(0, 0) = 2·1 + 3·(−1) = −1", "C(1, 0) = 4·1 + 5·(−1) = −1"]
    _, out, _ = convlens("window", "--size", "7", "--stride", "2", "--out", "w")
    assert "= ⌊4 / 2⌋ + 1 = 3" in out
    _, out, _ = convlens("layer", "--json", "--out", "l")
    assert json.loads(out)["parameters"] == 1792


def test_mistakes_are_refused_and_nothing_is_written(here, convlens):
    assert "no number" in one_line(convlens("convolution", "--image", "1 two"))
    assert "rows of 2, 1 numbers" in one_line(convlens("convolution", "--image", "1 2; 3"))
    assert "padding 'smae'" in one_line(convlens("window", "--padding", "smae"))
    assert "shift '3'" in one_line(convlens("pooling", "--shift", "3"))
    assert "or equal to 2" in one_line(convlens("gabor", "--wavelength", "1"))
    Image.new("RGB", (8, 8)).save("black.png")
    assert "less than half" in one_line(convlens("translation", "black.png", "--shift", "0,60"))
    assert not list(here.glob("convlens-*"))
