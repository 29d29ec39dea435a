"""Photos and images in any form: paths, PIL images, arrays and tensors give the same results."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens import ConvlensError, wrap

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    return wrap(network, size=16, mean=0.4, bounds=(-1, 1))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """One photo in every form."""
    path = tmp_path_factory.mktemp("photos") / "noise.png"
    Image.fromarray(PIXELS).save(path)
    return {
        "path": path,
        "text": str(path),
        "list": [path],
        "PIL": Image.fromarray(PIXELS),
        "array": PIXELS,
        "floats": PIXELS / 255,
        "batch of arrays": PIXELS[None],
        "8-bit tensor": torch.from_numpy(PIXELS).movedim(-1, 0),
        "batch of 8-bit tensors": torch.from_numpy(PIXELS).movedim(-1, 0)[None],
    }


FORMS = (
    "path", "text", "list", "PIL", "array", "floats", "batch of arrays", "8-bit tensor",
    "batch of 8-bit tensors",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_photo_give_the_same_image(form, model, photos):
    prepared = model.prepare(photos[form])
    picture = model.preprocessing.apply(Image.fromarray(PIXELS))
    expected = torch.from_numpy(np.array(picture)).movedim(-1, 0)[None] / 255 * 2 - 1
    assert torch.allclose(prepared, expected, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "call",
    [
        convlens.predict,
        convlens.gradcam,
        convlens.fgsm,
        convlens.feature_maps,
        lambda model, images: convlens.receptive_field(model, images, layer="0"),
    ],
    ids=["predict", "gradcam", "fgsm", "feature_maps", "receptive_field"],
)
def test_functions_of_images_take_all_forms_of_photos(call, form, model, photos):
    assert call(model, photos[form]) == call(model, model.prepare(photos["path"]))


@pytest.mark.parametrize("form", ["text", "PIL", "array", "floats", "batch of arrays"])
@pytest.mark.parametrize("name", ["patches", "robustness", "shift", "invariance"])
def test_passes_take_all_forms_of_photos(name, form, model, photos):
    options = {"layer": "0"} if name == "invariance" else {}
    function = getattr(convlens, name)
    result, expected = (function(model, each, **options) for each in (photos[form], photos["list"]))
    if name == "patches":  # it also holds the names of the photos
        assert torch.equal(result["0"].values, expected["0"].values)
    else:
        assert result == expected


@pytest.mark.parametrize("name", ["patches", "robustness", "shift", "invariance"])
def test_passes_over_lists_of_tensors(name, model):
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = images.contiguous(memory_format=torch.channels_last)  # as prepared images are
    options = {"layer": "0"} if name == "invariance" else {}
    function = getattr(convlens, name)
    expected = function(model, images, **options)
    assert function(model, list(images), **options) == expected
    assert function(model, tuple(images), **options) == expected


def test_a_list_of_8_bit_tensors_is_a_list_of_photos(model, photos):
    values = convlens.patches(model, [photos["8-bit tensor"]])["0"].values
    assert torch.equal(values, convlens.patches(model, photos["list"])["0"].values)
    with pytest.raises(ConvlensError, match="photos and tensors of floats together"):
        convlens.patches(model, [torch.zeros(3, 16, 16), photos["path"]])


def test_passes_that_write_folders(model, photos, tmp_path):
    mixed = [photos["path"], PIXELS, Image.fromarray(PIXELS)]
    result = convlens.gradcams(model, mixed, out=tmp_path / "maps")
    assert len(result.photos) == 3
    first, *others = (result[name] for name in result.photos)
    assert all(torch.equal(first.maps, other.maps) for other in others)


def test_an_image_is_neither_resized_nor_cropped(model):
    image = torch.rand(3, 20, 24)
    assert torch.equal(model.prepare(image), image[None])
    assert torch.equal(model.prepare([image, image]), torch.stack([image, image]))
    assert torch.equal(model.to_images(image), image[None])
    images = image[None]
    assert model.to_images(images) is images


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.full((1, 3, 16, 16), 2.0), "values 2 to 2 are outside the model's bounds -1 to 1"),
        ([torch.zeros(3, 16, 16), PIXELS], "photos and tensors of floats together"),
        ([torch.zeros(3, 16, 16), torch.zeros(3, 8, 8)], "give images of one shape"),
        ([], "no photos; give at least one"),
        (17, "a photo of type int; give the path of an image file, a PIL image, or an array"),
        (PIXELS.astype(float), "floats from 0 to 255"),
        ("nowhere.png", "nowhere.png does not exist"),
        (Path("nowhere.png"), "nowhere.png does not exist"),
    ],
)
def test_what_is_no_image(value, says, model):
    with pytest.raises(ConvlensError, match=says):
        model.prepare(value)


def test_a_network_of_other_channels_takes_images_only():
    model = wrap(nn.Conv2d(5, 2, 3), size=8)
    assert model.prepare(torch.rand(5, 8, 8)).shape == (1, 5, 8, 8)
    with pytest.raises(ConvlensError, match="takes 5 input channels and a photo has 1 or 3"):
        model.prepare(PIXELS)
