"""Preprocessing and pixels, compared with torchvision."""

import io
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import to_tensor as torchvision_to_tensor

from convlens.data.images import (
    encode_jpeg,
    encode_png,
    to_pixels,
    to_tensor,
)
from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError

INTERPOLATIONS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(height, width, seed=0):
    return Image.fromarray(noise(height, width, seed=seed))


class TestPreprocessing:
    @pytest.mark.parametrize("interpolation", INTERPOLATIONS)
    def test_short_side_and_crop_as_in_torchvision(self, interpolation):
        draw = random.Random(interpolation)
        for seed in range(40):
            picture = photo(draw.randint(1, 90), draw.randint(1, 90), seed)
            resize = draw.randint(1, 60)
            size = (draw.randint(1, 70), draw.randint(1, 70))  # some reach beyond the photo
            mode = transforms.InterpolationMode(interpolation)
            oracle = transforms.CenterCrop(size)(transforms.Resize(resize, mode)(picture))
            ours = Preprocessing(size, resize, interpolation).apply(picture)
            assert ours.size == (size[1], size[0])
            assert np.array_equal(np.asarray(ours), np.asarray(oracle)), (
                picture.size,
                resize,
                size,
            )

    def test_squash_as_in_torchvision(self):
        picture = photo(50, 31)
        mode = transforms.InterpolationMode.BICUBIC
        oracle = transforms.Resize((20, 44), mode)(picture)
        squashed = Preprocessing((20, 44), None, "bicubic").apply(picture)
        assert np.array_equal(np.asarray(squashed), np.asarray(oracle))

    def test_black_beyond_the_photo(self):
        image = np.asarray(Preprocessing((9, 4), 4).apply(Image.new("RGB", (4, 4), "white")))
        assert image[:, 0, 0].tolist() == [0, 0, 255, 255, 255, 255, 0, 0, 0]

    @pytest.mark.parametrize("interpolation", INTERPOLATIONS)
    @pytest.mark.parametrize("shape", [(1, 801), (803, 2), (31, 907)])
    def test_part_of_a_long_photo_is_as_the_whole(self, monkeypatch, interpolation, shape):
        preprocessing = Preprocessing((30, 40), 37, interpolation)
        picture = photo(*shape)
        whole = np.asarray(preprocessing.apply(picture)).astype(int)
        monkeypatch.setattr("convlens.data.preprocessing._MOST_RESIZED", 1)
        part = np.asarray(preprocessing.apply(picture)).astype(int)
        assert np.abs(whole - part).max() <= 1
        assert whole.std() > 10

    @pytest.mark.parametrize("shape", [(30_000, 1), (1, 30_000)])
    def test_a_thin_photo_does_not_explode(self, shape):
        line = np.linspace(0, 255, 30_000).round().astype(np.uint8).reshape(shape)
        image = np.asarray(Preprocessing((224, 224), 256, "bicubic").apply(Image.fromarray(line)))
        assert image.shape == (224, 224)
        assert image.min() >= 126  # the middle of the ramp, not its ends
        assert image.max() <= 129

    def test_sentence(self):
        assert Preprocessing((224, 224), 256, "bicubic").summary() == (
            "short side 256 bicubic, center crop 224"
        )
        assert Preprocessing((200, 100), 256).summary().endswith("center crop 200 × 100")
        assert Preprocessing((28, 28)).summary() == "squashed to 28 × 28 bilinear"

    def test_with_size(self):
        preprocessing = Preprocessing((224, 224), 256, "bicubic")
        assert preprocessing.with_size(448, 448) == Preprocessing((448, 448), 512, "bicubic")
        assert preprocessing.with_size(224, 448).resize == 512
        assert Preprocessing((28, 28)).with_size(32, 64) == Preprocessing((32, 64))

    def test_bad_values(self):
        with pytest.raises(ConvlensError, match="at least 1"):
            Preprocessing((0, 224))
        with pytest.raises(ConvlensError, match="at least 1"):
            Preprocessing((224, 224), 0)
        with pytest.raises(ConvlensError, match="nearest: bilinear"):
            Preprocessing((224, 224), 256, "bilinaer")
        with pytest.raises(ConvlensError, match="one of nearest, box"):
            Preprocessing((224, 224), 256, "???")


class TestPixels:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_as_in_torchvision(self, channels):
        picture = Image.fromarray(noise(16, 17, channels))
        ours = to_tensor(picture)
        assert ours.dtype == torch.float32
        assert torch.equal(ours, torchvision_to_tensor(picture))

    def test_bounds(self):
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        assert to_tensor(ramp, (0.0, 255.0))[0, 0].tolist() == list(range(256))
        signed = to_tensor(ramp, (-1.0, 1.0))[0, 0]
        assert torch.allclose(signed, torch.linspace(-1, 1, 256), atol=1e-6)

    @pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-2.1, 2.6)])
    def test_saved_and_loaded(self, bounds):
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
        pixels = to_pixels(to_tensor(Image.fromarray(ramp), bounds), bounds)
        assert pixels.dtype == torch.uint8
        assert np.array_equal(pixels[..., 0], ramp)

    def test_rounded_and_clamped(self):
        values = torch.tensor([-0.2, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.2]).view(1, 1, 5)
        assert to_pixels(values).flatten().tolist() == [0, 0, 1, 255, 255]

    def test_shapes(self):
        images = torch.rand(2, 5, 3, 4, 6)
        pixels = to_pixels(images)
        assert pixels.shape == (2, 5, 4, 6, 3)
        assert pixels[1, 2, 3, 4, 0] == (images[1, 2, 0, 3, 4] * 255).round()

    def test_what_cannot_be_drawn(self):
        with pytest.raises(ConvlensError, match="NaN"):
            to_pixels(torch.full((3, 2, 2), torch.nan))
        with pytest.raises(ConvlensError, match="mode RGBA"):
            to_tensor(Image.new("RGBA", (2, 2)))

    @pytest.mark.parametrize("compression", [0, 6])
    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4), (300, 200, 3)])
    def test_png(self, shape, compression):
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        encoded = encode_png(pixels, compression=compression)
        assert encoded == encode_png(pixels.numpy(), compression=compression)
        with Image.open(io.BytesIO(encoded)) as picture:
            assert np.array_equal(np.asarray(picture).reshape(shape), pixels)

    def test_jpeg(self):
        pixels = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
        with Image.open(io.BytesIO(encode_jpeg(pixels))) as picture:
            assert picture.format == "JPEG"
            assert np.abs(np.asarray(picture).astype(int) - pixels).max() < 4
        rough = noise(64, 64)
        assert len(encode_jpeg(rough, quality=30)) < len(encode_jpeg(rough)) / 1.5

    def test_bad_pixels(self):
        with pytest.raises(ConvlensError, match=r"float32 .*give uint8"):
            encode_png(torch.rand(4, 4, 3))
        with pytest.raises(ConvlensError, match="5 channels"):
            encode_png(torch.zeros(4, 4, 5, dtype=torch.uint8))
        with pytest.raises(ConvlensError, match="4 channels"):
            encode_jpeg(torch.zeros(4, 4, 4, dtype=torch.uint8))
