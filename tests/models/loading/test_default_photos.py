"""The photos and labels of a page or an explorer for which none are given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convlens.errors import ConvlensError
from convlens.models.loading import default_photos as module
from convlens.models.loading.default_photos import (
    check_default_photos,
    default_labels,
    default_photos,
    resolve_photos,
)


def model(spec: str | None, *labels: str) -> Any:
    """What these functions read of a model."""
    return SimpleNamespace(spec=spec, labels=labels or None)


@pytest.fixture
def run(tmp_path):
    """A run folder with two validation images."""
    folder = tmp_path / "run" / "photos"
    folder.mkdir(parents=True)
    for name in ("1.png", "2.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / "labels.csv").write_text("file,class\n2.png,bee\n1.png,ant\n")
    return folder.parent


@pytest.fixture
def no_demo(monkeypatch):
    def missing():
        raise ConvlensError("not installed")

    monkeypatch.setattr(module, "demo_photos", missing)


@pytest.mark.usefixtures("no_demo")
@pytest.mark.parametrize("checkpoint", ["", "@last"])
def test_a_training_shows_its_validation_images(run, checkpoint):
    trained = model(f"{run}{checkpoint}", "ant", "bee")
    paths, labels = resolve_photos(trained, None, None)
    assert paths == [run / "photos" / "2.png", run / "photos" / "1.png"]
    assert labels == {"2.png": (1,), "1.png": (0,)}
    check_default_photos(trained.spec, "run")
    assert resolve_photos(trained, None, {"1.png": [1]})[1] == {"1.png": (1,)}


def test_other_models_show_the_demonstration_photos():
    names = {path.name for path in default_photos("resnet50")}
    assert {"coffee.png", "chelsea.png"} < names and len(names) == 8
    assert default_photos(None) == default_photos("default")
    assert default_labels(model("resnet50", "espresso")) == {}


def test_labels_of_demonstration_photos_are_those_that_the_class_names_have():
    known = default_labels(model("default", "cup", "tripod", "espresso"))
    assert known == {"coffee.png": (2, 0), "camera.png": (1,)}
    assert default_labels(model("default", "ant", "bee")) == {}


@pytest.mark.parametrize("spec", [None, "resnet50"])
def test_a_page_needs_photos_that_go_with_the_model(spec):
    check_default_photos("default", "EfficientNet")
    with pytest.raises(ConvlensError, match="are for the embedded network; give photos for mine"):
        check_default_photos(spec, "mine")


@pytest.mark.usefixtures("no_demo")
def test_without_demonstration_photos(run):
    with pytest.raises(ConvlensError, match="not installed"):
        resolve_photos(model("default", "ant"), None, None)
    assert resolve_photos(model("default", "ant"), None, None, missing_ok=True) == ([], {})
    (run / "photos" / "labels.csv").write_text("file,class\n1.png,wasp\n")
    with pytest.raises(ConvlensError, match="unknown class 'wasp'"):  # also where photos may miss
        resolve_photos(model(str(run), "ant", "bee"), None, None, missing_ok=True)


def test_photos_that_are_given():
    assert resolve_photos(model(None), "cat.png", None)[0] == [Path("cat.png")]
    assert resolve_photos(model(None), [Path("a.png")], {"a.png": [3]}) == (
        [Path("a.png")], {"a.png": (3,)},
    )  # fmt: skip
    pictures: list[Any] = [np.zeros((4, 4, 3), np.uint8), Image.new("RGB", (4, 4))]
    for picture in pictures:
        with pytest.raises(ConvlensError, match=r"^a photo of type (ndarray|Image); .* its path$"):
            resolve_photos(model(None), [picture], None)
