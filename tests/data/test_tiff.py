"""Unusual TIFF files are read rightly, or refused with words that say what they hold."""

import struct

import numpy as np
import pytest
from PIL import Image

from convlens import PhotoError
from convlens.data.photos import read_photo

SIDE = 8


def write_tiff(path, order, bits, data, *, photometric=1, samples=1, planes=1, sample_format=1):
    """A TIFF file of 8 x 8 pixels without compression, one strip for each plane."""
    strips = samples if planes == 2 else 1
    tags = [
        (256, "H", [SIDE]), (257, "H", [SIDE]), (258, "H", [bits] * samples), (259, "H", [1]),
        (262, "H", [photometric]), (273, "I", None), (277, "H", [samples]), (278, "H", [SIDE]),
        (279, "I", [len(data) // strips] * strips), (284, "H", [planes]),
        (339, "H", [sample_format] * samples),
    ]  # fmt: skip
    after = 8 + 2 + 12 * len(tags) + 4
    extra, entries = b"", b""
    pixels_at = after + sum(
        len(values or [0] * strips) * struct.calcsize(kind) for _, kind, values in tags
    )
    strips_at = [pixels_at + number * (len(data) // strips) for number in range(strips)]
    for tag, kind, given in tags:
        values = given or strips_at
        packed = struct.pack(order + kind * len(values), *values)
        place = packed.ljust(4, b"\0")
        if len(packed) > 4:
            place = struct.pack(order + "I", after + len(extra))
            extra += packed
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + place
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    body = struct.pack(order + "H", len(tags)) + entries + bytes(4) + extra
    path.write_bytes((head + body).ljust(pixels_at, b"\0") + data)


def numbers(count, order):
    values = np.random.default_rng(0).integers(0, 65536, count * SIDE * SIDE)
    return values, values.astype(f"{order}u2").tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_in_both_byte_orders(tmp_path, order):
    values, data = numbers(1, order)
    write_tiff(tmp_path / "a.tif", order, 16, data)
    gray = np.asarray(read_photo(tmp_path / "a.tif").picture)[..., 0].flatten()
    assert np.array_equal(gray, np.round(values / 257).astype(np.uint8))


@pytest.mark.parametrize("order", ["<", ">"])
def test_planes_of_eight_bits_are_read_and_of_sixteen_refused(tmp_path, order):
    """Pillow reads the planes of 16-bit colors in a wrong order, without an error."""
    rgb = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    write_tiff(tmp_path / "a.tif", order, 8, rgb.tobytes(), photometric=2, samples=3, planes=2)
    assert np.array_equal(
        np.asarray(read_photo(tmp_path / "a.tif").picture), rgb.transpose(1, 2, 0)
    )
    _, data = numbers(3, order)
    write_tiff(tmp_path / "b.tif", order, 16, data, photometric=2, samples=3, planes=2)
    with pytest.raises(PhotoError, match="separate planes"):
        read_photo(tmp_path / "b.tif")


REFUSED = {
    "white is 0, big-endian": ((">", 16, bytes(128)), {"photometric": 0}, "16 bits, big-endian"),
    "12 bits, big-endian": ((">", 12, bytes(96)), {}, "12 bits, big-endian"),
    "12 bits, white is 0": (("<", 12, bytes(96)), {"photometric": 0}, "white is 0"),
    "10 bits": (("<", 10, bytes(80)), {}, "10 bits, little-endian"),
    "14 bits": (("<", 14, bytes(112)), {}, "14 bits"),
    "doubles": (("<", 64, bytes(512)), {"sample_format": 3}, "floats of 64 bits"),
    "two samples": (("<", 16, bytes(256)), {"samples": 2}, "2 values for each pixel"),
    "negative": (("<", 16, b"\x00\x80" * 64), {"sample_format": 2}, "negative integers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_pillow_does_not_read_is_named(tmp_path, name):
    (order, bits, data), options, words = REFUSED[name]
    write_tiff(tmp_path / "a.tif", order, bits, data, **options)
    with pytest.raises(PhotoError, match=words):
        read_photo(tmp_path / "a.tif")


def test_a_big_tiff_in_big_endian_order_is_named(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"MM\0+\0\x08\0\0" + struct.pack(">Q", 16) + bytes(64))
    with pytest.raises(PhotoError, match="BigTIFF, big-endian"):
        read_photo(tmp_path / "a.tif")


def test_a_damaged_tiff_and_another_file_are_no_kind_of_tiff(tmp_path):
    for data in (b"II*\0" + bytes(40), b"MM" + bytes(40), b"no image at all"):
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(PhotoError, match=r"not an image that can be read|damaged"):
            read_photo(tmp_path / "a.tif")


def test_pillow_still_writes_what_is_read(tmp_path):
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (5, 4, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.tiff")
    assert np.array_equal(np.asarray(read_photo(tmp_path / "a.tiff").picture), np.asarray(picture))
