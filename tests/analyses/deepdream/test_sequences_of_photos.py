"""A dream takes the one photo of a sequence; the preprocessing check takes images one by one."""

import pytest
import torch
from PIL import Image
from torch import nn

import convlens


def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return convlens.wrap(network.eval(), size=16)


def images():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def dream(photo, **options):
    return convlens.dream(model(), photo, layer="0", octaves=1, steps=1, **options)


def test_a_sequence_of_one_photo_is_that_photo():
    image = images()[:1]
    expected = dream(image)
    assert dream([image]) == dream([image[0]]) == dream(list(image)) == expected
    picture = Image.new("RGB", (16, 16), "gray")
    assert dream([picture]) == dream(picture)
    pixels = (image[0] * 255).to(torch.uint8)
    assert dream(pixels) == dream(pixels.movedim(0, -1).numpy())


@pytest.mark.parametrize("photos", [[], list(images()[:2])])
def test_any_other_number_is_refused(photos):
    with pytest.raises(convlens.ConvlensError, match=rf"{len(photos)} photos; a dream takes one"):
        dream(photos)
    with pytest.raises(convlens.ConvlensError, match=rf"{len(photos)} photos; a dream takes one"):
        dream(images()[:1], guide=photos)


@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
def test_preprocessing_of_a_list_of_images_is_that_of_the_batch():
    batch = convlens.check_preprocessing(model(), images())
    listed = convlens.check_preprocessing(model(), list(images()))
    assert [variant.name for variant in listed.variants] == [v.name for v in batch.variants]
    for first, second in zip(listed.variants, batch.variants, strict=True):
        assert first.score == pytest.approx(second.score, abs=1e-5)
    photos = [(image * 255).to(torch.uint8) for image in images()]
    as_arrays = [photo.movedim(0, -1).numpy() for photo in photos]
    from_tensors = convlens.check_preprocessing(model(), photos)
    assert from_tensors == convlens.check_preprocessing(model(), as_arrays)
