"""The folder of a Grad-CAM pass as people read it: the index, the contact sheet, the numbers."""

import json
import re
from urllib.parse import unquote

import pytest

from convlens import gradcams
from convlens.analyses.gradcam import overview
from support.photo_folders import labeled_model, save_noise


@pytest.fixture
def model():
    return labeled_model(("a cat", "dog/b", "a cat"))


@pytest.fixture
def photos(tmp_path):
    return save_noise(tmp_path, ["one.png", "50% #2.png", "three.png"])


def read(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def sources(folder):
    return [unquote(source) for source in re.findall(r'<img src="([^"]*)"', read(folder))]


def test_index_shows_every_picture_of_every_photo(model, photos, tmp_path):
    result = gradcams(model, photos, out=tmp_path / "cams", classes=[0, 1, 2], command="gradcam x")
    drawn = list((tmp_path / "cams").glob("*/*.png"))
    shown = [tmp_path / "cams" / source for source in sources(tmp_path / "cams")]
    assert len(shown) == 9
    assert set(shown) == set(drawn)
    names = [path.name for path in (tmp_path / "cams" / "50% #2.png").glob("*.png")]
    assert sorted(names) == [
        "50_2-a_cat_1_at_0.png", "50_2-a_cat_3_at_0.png", "50_2-dog_b_at_0.png",
    ]  # fmt: skip
    text = read(tmp_path / "cams")
    cam = result["one.png"]
    assert f"logit {float(cam.scores[0, 1]):+.2f}".replace("-", "\N{MINUS SIGN}") in text
    assert "<pre>gradcam x</pre>" in text
    assert (tmp_path / "cams" / "contact-sheet.png").is_file()


def test_numbers_are_those_of_the_saved_maps(model, photos, tmp_path):
    result = gradcams(model, photos, out=tmp_path / "cams", command="gradcam x")
    numbers = json.loads((tmp_path / "cams" / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["convlens"]["class"] == "GradCams"
    assert numbers["convlens"]["command"] == "gradcam x"
    assert numbers["summary"] == result.summary().split("\n")
    assert numbers["layers"] == ["0"]
    assert list(numbers["photos"]) == list(result.photos)
    for name, values in numbers["photos"].items():
        assert values == result[name].to_json()


def test_folders_of_two_runs_are_equal(model, photos, tmp_path):
    for name in ("first", "second"):
        gradcams(model, photos, out=tmp_path / name)
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*")]
    for file in files:
        if (tmp_path / "first" / file).is_file():
            first, second = ((tmp_path / name / file).read_bytes() for name in ("first", "second"))
            assert first == second, file


def test_index_of_many_photos_says_what_it_leaves_out(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "_MOST", 2)
    gradcams(model, photos, out=tmp_path / "cams")
    assert len(sources(tmp_path / "cams")) == 2
    assert "2 of 3 photos, evenly spread; scores.csv has a row for each" in read(tmp_path / "cams")
