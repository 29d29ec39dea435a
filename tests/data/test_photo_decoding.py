"""Decoding of photos: gray levels of TIFF files, memory, and arguments that are no photos."""

import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import convlens
from convlens.data import picture_conversion
from convlens.data.photo_decoder import PhotoDecoder
from convlens.data.photos import PIXELS, EncodedPhoto, read_photo
from convlens.data.pixel_budget import PixelBudget
from convlens.data.preprocessing import Preprocessing


def write_tiff(path, bits, photometric, data, side):
    """An uncompressed gray TIFF of one strip, written by hand."""
    tags = [
        (256, side), (257, side), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1),
        (278, side), (279, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(header + data + struct.pack("<H", len(tags)) + entries + bytes(4))


def pack(values, bits):
    """Numbers as a string of bits, the highest first; 16-bit numbers in little-endian bytes."""
    if bits == 16:
        return struct.pack(f"<{len(values)}H", *values)
    text = "".join(f"{value:0{bits}b}" for value in values)
    return int(text, 2).to_bytes(len(text) // 8, "big")


class TestGrayTiff:
    @pytest.mark.parametrize(
        ("bits", "photometric"), [(1, 0), (4, 0), (8, 0), (16, 0), (4, 1), (8, 1), (12, 1), (16, 1)]
    )
    def test_every_level_is_read(self, tmp_path, bits, photometric):
        highest = 2**bits - 1
        values = [round(at * highest / 63) for at in range(64)]
        write_tiff(tmp_path / "a.tif", bits, photometric, pack(values, bits), 8)
        read = np.asarray(read_photo(tmp_path / "a.tif").picture)[..., 0].flatten()
        shares = [value / highest if photometric else 1 - value / highest for value in values]
        np.testing.assert_allclose(read, [255 * share for share in shares], atol=0.5001)

    def test_notes_say_what_was_done(self, tmp_path):
        write_tiff(tmp_path / "a.tif", 16, 0, pack([1000] * 64, 16), 8)
        photo = read_photo(tmp_path / "a.tif")
        assert photo.notes == ("16-bit: scaled to 8", "white is 0: inverted")
        assert photo.picture.getpixel((0, 0)) == (251, 251, 251)


class TestMemory:
    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "RGB", "CMYK"])
    def test_strips_give_the_same_pixels(self, tmp_path, monkeypatch, mode):
        rng = np.random.default_rng(0)
        if mode == "I;16":
            picture = Image.fromarray(rng.integers(0, 65536, (50, 31), dtype=np.uint16))
        else:
            picture = Image.fromarray(rng.integers(0, 256, (50, 31, 4), dtype=np.uint8), "RGBA")
            picture = picture.quantize(16) if mode == "P" else picture.convert(mode)
        suffix = "tif" if mode == "CMYK" else "png"
        picture.save(tmp_path / f"a.{suffix}")
        whole = read_photo(tmp_path / f"a.{suffix}")
        monkeypatch.setattr(picture_conversion, "_STRIP_PIXELS", 100)
        strips = read_photo(tmp_path / f"a.{suffix}")
        assert strips.notes == whole.notes
        assert strips.picture.tobytes() == whole.picture.tobytes()

    def test_orientation_is_applied_and_the_given_image_stays(self):
        picture = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
        picture.getexif()[274] = 6
        before = picture.copy()
        read = read_photo(picture).picture
        assert np.array_equal(np.asarray(read), np.asarray(before).transpose(1, 0, 2)[:, ::-1])
        assert picture.getexif()[274] == 6
        assert picture.tobytes() == before.tobytes()
        assert read is not picture

    def test_a_photo_with_too_many_pixels_is_refused_with_its_number_of_pixels(self, tmp_path):
        header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
        Image.new("L", (1, 1)).save(tmp_path / "a.png")
        data = bytearray((tmp_path / "a.png").read_bytes())
        data[16:29] = header
        data[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
        with pytest.raises(convlens.PhotoError, match=r"too many pixels \(200,000,000\); save it"):
            read_photo(EncodedPhoto(bytes(data), "a.png"))

    def test_pixels_of_all_threads_stay_within_the_budget(self):
        budget, most, lock = PixelBudget(100), [0], threading.Lock()

        def decode(pixels):
            with budget.scope():
                budget.take(pixels)
                with lock:
                    most[0] = max(most[0], budget.taken)
                time.sleep(0.002)

        threads = [threading.Thread(target=decode, args=(30 + at,)) for at in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert budget.taken == 0
        assert 30 <= most[0] <= 100

    def test_a_photo_above_the_budget_is_decoded_alone(self):
        budget = PixelBudget(100)
        with budget.scope():
            budget.take(500)
            budget.take(30)  # by the same thread, which does not wait for itself
            with budget.scope():
                assert budget.taken == 530
            assert budget.taken == 530
        assert budget.taken == 0

    def test_decoding_counts_pixels_until_the_photo_is_small(self, monkeypatch):
        seen = []
        apply = Preprocessing.apply

        def recording(self, picture):
            seen.append(PIXELS.taken)
            return apply(self, picture)

        monkeypatch.setattr(Preprocessing, "apply", recording)
        buffer = io.BytesIO()
        Image.new("RGB", (30, 20)).save(buffer, "PNG")
        PhotoDecoder(Preprocessing((4, 4)), "RGB")(EncodedPhoto(buffer.getvalue(), "a.png"))
        assert seen == [600]
        assert PIXELS.taken == 0


class TestArguments:
    @pytest.fixture
    def model(self):
        return convlens.wrap(torch.nn.Conv2d(3, 2, 3), size=8)

    @pytest.mark.parametrize("photos", [None, 5, b"bytes", [None]])
    def test_what_is_no_photo_is_refused(self, model, photos):
        with pytest.raises(convlens.ConvlensError, match=r"a photo of type \w+; give the path of"):
            model.prepare(photos)
        if not isinstance(photos, torch.Tensor):
            with pytest.raises(convlens.ConvlensError, match="a photo of type"):
                convlens.cortex(photos)

    def test_no_photos(self, model):
        with pytest.raises(convlens.ConvlensError, match="no photos; give at least one"):
            model.prepare([])

    def test_one_photo_and_any_iterable(self, model, tmp_path):
        picture = Image.new("RGB", (9, 9))
        picture.save(tmp_path / "cat.png")
        for photos in (tmp_path / "cat.png", str(tmp_path / "cat.png"), picture, iter([picture])):
            assert model.prepare(photos).shape == (1, 3, 8, 8)
        assert convlens.cortex(str(tmp_path / "cat.png"), size=32).image.shape == (1, 32, 32)

    @pytest.mark.parametrize("size", [100_000, (100_000, 1_000)])
    def test_sizes_beyond_any_memory(self, size):
        network = torch.nn.Conv2d(3, 2, 3)
        with pytest.raises(convlens.ConvlensError, match="need too much memory; give a size of"):
            convlens.wrap(network, size=size)
        model = convlens.wrap(network, size=8)
        longest = size if isinstance(size, int) else size[0]
        with pytest.raises(convlens.ConvlensError, match="need too much memory"):
            convlens.dream(model, Image.new("RGB", (9, 9)), layer="0", image_size=longest)
        with pytest.raises(convlens.ConvlensError, match="need too much memory"):
            convlens.maximize(model, [":0"], image_size=size)
