"""The folder of `attack_photos` as people read it: the index, the contact sheet, the numbers."""

import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from convlens import attack_photos
from convlens.analyses.attacks.fgsm_result import Fgsm
from support.photo_folders import labeled_model, save_noise


@pytest.fixture
def model():
    return labeled_model(("cat", "dog", "bee"))


@pytest.fixture
def photos(tmp_path):
    # The folder of the curve has the name of the second photo.
    return save_noise(tmp_path, ["one.png", "curve", "index.html", "four.png"])


def test_index_shows_every_picture(model, photos, tmp_path):
    attack_photos(
        model, photos, ["8/255"], out=tmp_path / "out", pgd_steps=1, show=3, command="fgsm x",
        internal_changes=True,
    )  # fmt: skip
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    shown = [tmp_path / "out" / unquote(path) for path in re.findall(r'<img src="([^"]*)"', text)]
    drawn = [path for path in (tmp_path / "out").rglob("*.png") if path.is_file()]
    assert set(shown) == {path for path in drawn if path.name != "contact-sheet.png"}
    assert len(shown) == 1 + 3 * (3 + 1 + 2)  # curve; attack, flip, maps before and after
    assert "Pictures of 3 of 4 photos" in text
    assert "<pre>fgsm x</pre>" in text
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {"one.png", "curve", "2-curve", "2-index.html"}


def test_numbers_are_those_of_the_saved_attacks(model, photos, tmp_path):
    result = attack_photos(model, photos[:2], ["8/255"], out=tmp_path / "out", pgd_steps=1)
    numbers = json.loads((tmp_path / "out" / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["summary"] == [result.summary()]
    assert numbers["curve"]["images"] == 2
    assert [attack["photo"] for attack in numbers["attacks"]] == list(numbers["photos"])
    for name, values in numbers["photos"].items():
        assert values["flip"]["levels"] == [1, 2, 3, 4, 6, 8, 12, 16]
        assert values["class_origins"] == list(result[name].class_origins)


def test_the_original_lies_beside_what_was_changed(model, photos, tmp_path):
    attack_photos(model, photos[:1], ["8/255"], out=tmp_path / "out")
    attack = Fgsm.load(tmp_path / "out" / "one.png")
    name = f"one-original_{attack.prediction_names[0]}.png"
    original = np.asarray(Image.open(tmp_path / "out" / "one.png" / name)).astype(int)
    changed = list((tmp_path / "out" / "one.png").glob("one-epsilon_8_of_255_*.png"))
    difference = np.abs(np.asarray(Image.open(changed[0])).astype(int) - original)
    assert 7 <= difference.max() <= 8
