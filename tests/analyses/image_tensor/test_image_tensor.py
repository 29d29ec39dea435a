"""An image as a tensor, against arithmetic on its pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens


def test_levels_and_normalization():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    model = convlens.wrap(nn.Conv2d(3, 2, 3), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5), size=12)
    result = convlens.image_tensor(model, Image.fromarray(pixels), at=(3, 6))
    levels = pixels.transpose(2, 0, 1)
    assert np.allclose(result.image.numpy() * 255, levels, atol=1e-4)
    mean, std = np.array([[0.4, 0.5, 0.6], [0.2, 0.25, 0.5]])[..., None, None]
    assert np.allclose(result.normalized.numpy(), (levels / 255 - mean) / std, atol=1e-5)
    texts = [text.get_text() for text in result.figure().axes[0].texts]
    assert sum(texts.count(str(level)) for level in set(levels[:, 3:8, 6:11].flatten())) == 75
    value = (levels[1, 3, 6] / 255 - 0.5) / 0.25
    written = f"{value:.3g}".replace("-", "−")
    assert f"({levels[1, 3, 6]} / 255 − 0.5) / 0.25 = {written}" in texts
    assert "3 × 12 × 12 = 432 numbers" in result.summary()


def test_mean_of_each_image_and_gray():
    model = convlens.wrap(nn.Conv2d(1, 2, 3), center="image", std=0.5, size=8, channels=1)
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    result = convlens.image_tensor(model, image)
    assert result.mean == pytest.approx((float(image.mean()),))
    assert float(result.normalized.mean()) == pytest.approx(0, abs=1e-6)
    assert "of this image" in result.summary()
    result.figure()


def test_the_part_with_the_greatest_contrast_is_written_out():
    image = torch.full((1, 3, 20, 20), 0.5)
    image[..., 11:13, 4:6] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    row, column = convlens.image_tensor(convlens.wrap(nn.Conv2d(3, 2, 3), size=20), image).corner
    assert {11, 12} <= set(range(row, row + 5))
    assert {4, 5} <= set(range(column, column + 5))


def test_refusals():
    model = convlens.wrap(nn.Conv2d(3, 2, 3), size=8)
    with pytest.raises(convlens.ConvlensError, match="2 images"):
        convlens.image_tensor(model, torch.rand(2, 3, 8, 8))
    with pytest.raises(convlens.ConvlensError, match="at most 3,3"):
        convlens.image_tensor(model, torch.rand(1, 3, 8, 8), at=(4, 0))
