"""Translation equivariance of one convolution, against scipy on the views."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.signal import correlate2d

import convlens


def noise(size=120):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    return Image.fromarray(pixels).resize((2 * size, 2 * size), Image.Resampling.BILINEAR)


@pytest.mark.parametrize("shift", [(0, 7), (-5, 3)])
def test_the_map_of_the_shifted_image_is_the_shifted_map(shift):
    result = convlens.translation(noise(), shift=shift, size=40)
    down, right = shift
    shown = result.image[max(-down, 0) : 40 - max(down, 0), max(-right, 0) : 40 - max(right, 0)]
    moved = result.shifted_image[
        max(down, 0) : 40 + min(down, 0), max(right, 0) : 40 + min(right, 0)
    ]
    assert torch.equal(shown, moved)
    for image, feature_map in (
        (result.image, result.feature_map),
        (result.shifted_image, result.shifted_feature_map),
    ):
        expected = correlate2d(image.numpy(), result.filter.numpy(), "valid")
        assert np.array_equal(feature_map.numpy(), expected)
        assert expected.std() > 1
    assert result.exact
    assert result.error == 0
    assert int(result.difference.isnan().sum()) == 38**2 - (38 - abs(down)) * (38 - abs(right))
    assert "equals the shifted map" in result.summary()


def test_a_stride_keeps_only_multiples_of_itself():
    assert convlens.translation(noise(), shift=(0, 8), stride=2, size=40).exact
    odd = convlens.translation(noise(), shift=(0, 7), stride=2, size=40)
    assert not odd.exact
    assert odd.error > 0.1
    texts = [text.get_text() for text in odd.figure().axes[0].texts]
    assert f"difference: {100 * odd.error:.0f} % of the variation (RMS)" in texts


def test_shifts_and_filters_that_cannot_be_used_are_refused():
    with pytest.raises(convlens.ConvlensError, match="less than half"):
        convlens.translation(noise(), shift=(0, 20), size=40)
    with pytest.raises(convlens.ConvlensError, match="rows and columns"):
        convlens.translation(noise(), filter=torch.zeros(3))
