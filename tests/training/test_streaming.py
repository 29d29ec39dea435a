"""Photos that are decoded each time they are used, beside the same photos in memory."""

import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import convlens
from convlens import ConvlensError, open_data
from convlens.data.datasets.read_ahead import read_ahead
from convlens.data.photo_decoder import PhotoDecoder
from convlens.training.data.labeled_images import PixelSums
from convlens.training.data.streamed import StreamedImages
from convlens.training.normalization import mean_and_std

CLASSES, EACH = ("cat", "dog"), 12


@pytest.fixture
def folder(tmp_path):
    """Two classes of small photos in color, one of them damaged."""
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(EACH):
            pixels = rng.integers(0, 256, (14, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number:02}.png")
    damaged = tmp_path / "data" / "cat" / "05.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    return tmp_path / "data"


def test_images_are_those_in_memory(folder):
    memory, streamed = (open_data(folder, size=12, stream=stream) for stream in (False, True))
    assert isinstance(streamed.train, StreamedImages)
    for images, own in ((memory.train, streamed.train), (memory.validation, streamed.validation)):
        assert torch.equal(own.pixels, images.pixels)
        assert torch.equal(own.classes, images.classes)
    assert len(streamed.train) + len(streamed.validation) == 2 * EACH - 1
    assert [photo.path.name for photo in streamed.skipped] == ["05.png"]
    assert streamed.skipped == memory.skipped
    assert streamed.fingerprint == memory.fingerprint


def test_training_ends_with_the_same_weights(folder, tmp_path):
    weights, photos = [], []
    for stream in (False, True):
        out = tmp_path / f"run-{stream}"
        run = convlens.train(
            folder, out=out, size=12, stream=stream, network="lenet5", epochs=3, batch=5,
            device="cpu",
        )  # fmt: skip
        assert run.images + run.validated == 2 * EACH - 1
        weights.append(load_file(next(out.glob("*/weights.safetensors"))))
        photos.append({path.name: path.read_bytes() for path in (out / "photos").iterdir()})
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert photos[0] == photos[1]


def test_photos_that_do_not_fit_the_memory_are_streamed(folder, monkeypatch):
    module = sys.modules["convlens.training.data.class_folders"]
    needed = (2 * EACH) * 12 * 12 * 3
    monkeypatch.setattr(module, "available_memory", lambda: 2 * needed)
    assert not isinstance(open_data(folder, size=12).train, StreamedImages)
    monkeypatch.setattr(module, "available_memory", lambda: 2 * needed - 1)
    assert isinstance(open_data(folder, size=12).train, StreamedImages)


def test_a_few_batches_are_decoded_ahead_and_no_more(folder, monkeypatch):
    images = open_data(folder, size=12, stream=True).train
    decoded, decode = [], PhotoDecoder.__call__

    def count(decoder, photo):
        decoded.append(photo)
        return decode(decoder, photo)

    monkeypatch.setattr(PhotoDecoder, "__call__", count)
    batches = images.batches(torch.arange(20).split(2))
    for used, batch in enumerate(batches, start=1):
        assert len(batch) == 2
        assert 2 * used <= len(decoded) <= 2 * (used + 3)
        if used == 5:
            break
    batches.close()
    assert len(decoded) < 20
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_a_photo_that_vanishes_during_the_training(folder, tmp_path):
    def remove_photos(stage, done, total):
        if stage == "training":
            for path in folder.glob("*/*.png"):
                path.unlink()

    with pytest.raises(ConvlensError, match=r"does not exist.*do not change the photos during"):
        convlens.train(
            folder, out=tmp_path / "run", size=12, stream=True, network="lenet5", epochs=9,
            batch=5, device="cpu", progress=remove_photos,
        )  # fmt: skip


def test_strict_raises_for_a_damaged_photo(folder):
    with pytest.raises(ConvlensError, match=r"05\.png is truncated"):
        open_data(folder, size=12, stream=True, strict=True)


def test_other_data_than_photos_is_not_streamed():
    with pytest.raises(ConvlensError, match="digits is held in memory, and only photos in folders"):
        open_data("digits", stream=True)


def test_an_error_while_reading_comes_in_its_turn():
    def read(number):
        if number == 3:
            raise ValueError("three")
        return 10 * number

    batches = read_ahead(iter([[0, 1], [], [2, 3], [4]]), read, ahead=2)
    assert [get() for get in next(batches)] == [0, 10]
    assert next(batches) == []
    first, second = next(batches)
    assert first() == 20
    with pytest.raises(ValueError, match="three"):
        second()
    batches.close()


def test_deviation_about_image_means_is_exact_for_many_images():
    class ManyImages:
        """As many images of 224 x 224 as make sums that exceed 64 bits, with a deviation of 10."""

        shape = (224, 224, 1)
        area, count = 224 * 224, 400_000
        pixel_sums = PixelSums(
            torch.full((count, 1), 128 * area), torch.full((count, 1), (128**2 + 10**2) * area)
        )

        def __len__(self):
            return self.count

    images: Any = ManyImages()
    assert mean_and_std(images, "image") == ((0.0,), (round(10 / 255, 6),))
