"""Arrays of pixels as photos."""

import numpy as np
import pytest

from convlens.data.array_pictures import picture_from_array
from convlens.data.photos import read_photo
from convlens.errors import ConvlensError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
PIXELS[0, 0], PIXELS[0, 1] = 0, 255


@pytest.mark.parametrize(
    "array",
    [
        PIXELS,
        PIXELS.astype(np.float64) / 255,
        PIXELS.astype(np.float32) / 255,
        (PIXELS / 255).astype(np.float16),
        PIXELS.astype(np.uint16) * 257,
        np.asfortranarray(PIXELS),
    ],
    ids=["uint8", "float64", "float32", "float16", "uint16", "fortran"],
)
def test_the_same_pixels_in_any_type(array):
    assert np.array_equal(np.asarray(picture_from_array(array)), PIXELS)


def test_gray_and_transparent_pixels():
    assert picture_from_array(PIXELS[..., 0]).mode == "L"
    assert picture_from_array(PIXELS[..., :1]).mode == "L"
    transparent = np.dstack([PIXELS, np.zeros_like(PIXELS[..., :1])])
    assert read_photo(transparent).picture.getpixel((0, 0)) == (255, 255, 255)
    mask = PIXELS[..., 0] > 127
    assert np.array_equal(np.asarray(picture_from_array(mask)) == 255, mask)


def test_a_conversion_is_noted():
    assert read_photo(PIXELS).notes == ()
    assert read_photo(PIXELS / 255).notes == ("float64: converted to 8 bits",)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (PIXELS.astype(np.float32), "floats from 0 to 255; give floats from 0 to 1, or uint8"),
        (PIXELS / 255 - 0.5, "floats from -0.5 to 0.5;"),
        (np.full((4, 4), np.nan), "floats from nan to nan"),
        (PIXELS.astype(np.int64), "a photo of type int64; give uint8"),
        (np.moveaxis(PIXELS, -1, 0), "3x5x7 is no photo.*numpy.moveaxis"),
        (np.zeros((4, 4, 2), np.uint8), "4x4x2 is no photo"),
        (np.zeros((0, 4), np.uint8), "0x4 is no photo"),
        (np.zeros(4, np.uint8), "an array of 4 is no photo"),
    ],
)
def test_what_is_no_photo(array, says):
    with pytest.raises(ConvlensError, match=says):
        picture_from_array(array)
