"""The folder of `attack_photos` as people read it: the index, the contact sheet, the numbers."""

import json
import re
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convlens import attack_photos, wrap
from convlens.analyses.attacks.fgsm import Fgsm

SIZE = 12


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return wrap(network, size=SIZE, labels=("cat", "dog", "bee"))


@pytest.fixture
def photos(tmp_path):
    # The folder of the curve has the name of the second photo.
    paths = [tmp_path / name for name in ("one.png", "curve", "index.html", "four.png")]
    for path in paths:
        Image.effect_noise((SIZE, SIZE), 90).convert("RGB").save(path, format="PNG")
    return paths


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
