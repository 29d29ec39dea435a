"""Decoding of photos, and error messages for files that cannot be decoded."""

import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from convlens.data import photos
from convlens.data.datasets.photo_dataset import PhotoFiles
from convlens.data.photo_files import find_photos
from convlens.data.photos import Photo, read_photo, read_photos
from convlens.errors import ConvlensError, PhotoError


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(height, width, seed=0):
    return Image.fromarray(noise(height, width, seed=seed))


def sixteen_bit_png(values):
    """A PNG by hand, so that Pillow's own writer is no part of the test."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


class TestReadPhoto:
    def test_plain(self, tmp_path):
        path = tmp_path / "a.png"
        photo(5, 7).save(path)
        read = read_photo(str(path))
        assert (read.name, read.path, read.notes) == ("a.png", path, ())
        assert read.picture.mode == "RGB"
        assert np.array_equal(np.asarray(read.picture), noise(5, 7))
        assert read_photo(read) is read

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files here")
    def test_no_file_stays_open(self, tmp_path):
        path = tmp_path / "a.gif"
        photo(5, 7).save(path)
        before = open_files()
        photos = [read_photo(path) for _ in range(5)]
        assert open_files() == before
        assert all(entry.picture.getpixel((0, 0)) for entry in photos)

    def test_a_picture_in_memory_is_left_as_it_is(self):
        picture = Image.fromarray(noise(5, 7, 1))
        read = read_photo(picture)
        assert (read.name, read.path, read.picture.mode, picture.mode) == (
            "photo",
            None,
            "RGB",
            "L",
        )
        assert np.array_equal(np.asarray(read.picture)[..., 1], noise(5, 7, 1))

    def test_animated(self, tmp_path):
        frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime", "blue")]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        read = read_photo(tmp_path / "a.gif")
        assert read.notes == ("animated: first of 3 frames",)
        assert read.picture.getpixel((1, 1)) == (255, 0, 0)

    def test_several_pages(self, tmp_path):
        frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime")]
        frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:])
        assert read_photo(tmp_path / "a.tiff").notes == ("several pictures: first of 2 frames",)

    def test_sixteen_bits_are_scaled(self, tmp_path):
        values = np.array([[0, 128, 129, 255, 257, 32768, 65535]])
        (tmp_path / "a.png").write_bytes(sixteen_bit_png(values))
        read = read_photo(tmp_path / "a.png")
        assert read.notes == ("16-bit: scaled to 8",)
        assert np.asarray(read.picture)[0, :, 0].tolist() == [0, 0, 1, 1, 1, 128, 255]

    @pytest.mark.parametrize("name", ["a.pgm", "a.tiff"])
    def test_sixteen_bits_in_other_files(self, tmp_path, name):
        values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
        if name == "a.pgm":  # Pillow opens it in mode I
            (tmp_path / name).write_bytes(b"P5 3 1 65535\n" + values.astype(">u2").tobytes())
        else:
            Image.fromarray(values).save(tmp_path / name)
        assert np.asarray(read_photo(tmp_path / name).picture)[0, :, 2].tolist() == [0, 100, 255]

    def test_cmyk(self, tmp_path):
        Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
        read = read_photo(tmp_path / "a.jpg")
        assert read.notes == ("CMYK: converted to RGB",)
        red, green, blue = np.asarray(read.picture)[4, 4].tolist()
        assert red > 240
        assert max(green, blue) < 15

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
    def test_transparent_is_laid_on_white(self, tmp_path, mode):
        picture = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
        picture.putpixel((0, 0), (0, 0, 0, 0))
        if mode != "P":
            picture.putpixel((1, 0), (0, 0, 0, 51))
        picture.convert(mode).save(tmp_path / "a.png")
        read = read_photo(tmp_path / "a.png")
        assert read.notes == ("transparent: laid on white",)
        half = 0 if mode == "P" else 204
        assert [read.picture.getpixel((x, 0)) for x in range(3)] == [
            (v,) * 3 for v in (255, half, 0)
        ]

    def test_opaque_alpha_needs_no_note(self, tmp_path):
        Image.new("RGBA", (3, 1), (9, 8, 7, 255)).save(tmp_path / "a.png")
        read = read_photo(tmp_path / "a.png")
        assert read.notes == ()
        assert read.picture.getpixel((0, 0)) == (9, 8, 7)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif(self, tmp_path, orientation):
        upright = noise(8, 16, 1)
        stored = {  # what a camera that was held so writes
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.T,
            6: np.rot90(upright),
            7: upright[::-1, ::-1].T,
            8: np.rot90(upright, -1),
        }[orientation]
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
        read = read_photo(tmp_path / "a.png")
        assert np.array_equal(np.asarray(read.picture)[..., 0], upright)
        assert read.notes == (("rotated by EXIF",) if orientation > 1 else ())

    def test_damaged_exif_does_no_harm(self, tmp_path):
        photo(4, 4).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0nonsense and more")
        assert read_photo(tmp_path / "a.jpg").picture.size == (4, 4)

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.bmp", "a.tiff"])
    def test_truncated(self, tmp_path, name):
        photo(40, 40).save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        for length in (10, len(data) // 2, len(data) - 30):
            (tmp_path / name).write_bytes(data[:length])
            with pytest.raises(PhotoError, match=r"truncated or damaged|not an image") as caught:
                read_photo(tmp_path / name)
            assert_one_line(caught.value, name)

    def test_what_is_no_photo(self, tmp_path):
        (tmp_path / "empty.png").touch()
        (tmp_path / "text.png").write_text("not a picture\n")
        Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "float.tiff")
        Image.fromarray(np.full((2, 2), 70_000, dtype=np.int32)).save(tmp_path / "wide.tiff")
        photo(2, 2).save(tmp_path / "a.eps")  # would start another program
        for name, words in {
            "empty.png": "is empty",
            "text.png": "not an image",
            "float.tiff": "32-bit floats",
            "wide.tiff": "32-bit integers",
            "txet.png": "does not exist; nearest: text.png",
            "text.png/more": "does not exist",
            "a.eps": "not an image",
            "": "is a folder",
            "x" * 300: "cannot be read .File name too long",
        }.items():
            with pytest.raises(PhotoError, match=words) as caught:
                read_photo(tmp_path / name)
            assert_one_line(caught.value, name)

    def test_too_many_pixels(self, tmp_path, monkeypatch):
        photo(30, 30).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # Pillow warns here, which is dropped
        assert read_photo(tmp_path / "a.png").picture.size == (30, 30)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        with pytest.raises(PhotoError, match="too many pixels"):
            read_photo(tmp_path / "a.png")


def assert_one_line(error, name):
    assert "\n" not in str(error)
    assert name in str(error)


class TestFindPhotos:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("b.jpg", "a.PNG", "sub/c.webp", ".hidden.png", ".cache/d.png", "notes.txt"):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        (tmp_path / "folder.png").mkdir()
        return tmp_path

    def names(self, folder, *arguments):
        paths = find_photos([folder / argument for argument in arguments])
        return [str(path.relative_to(folder)) for path in paths]

    def test_folder(self, folder):
        assert self.names(folder, "") == ["a.PNG", "b.jpg", "sub/c.webp"]

    def test_order_is_kept_and_duplicates_removed(self, folder):
        arguments = ("sub/c.webp", "b.jpg", "sub/../b.jpg", "")
        assert self.names(folder, *arguments) == ["sub/c.webp", "b.jpg", "a.PNG"]

    def test_globs(self, folder):
        assert self.names(folder, "*") == ["a.PNG", "b.jpg"]
        assert self.names(folder, "**/*.webp") == ["sub/c.webp"]
        assert self.names(folder, "[ab].*") == ["a.PNG", "b.jpg"]

    def test_a_file_is_taken_whatever_its_name(self, folder):
        (folder / "[1].png").touch()
        (folder / "photo.dat").touch()
        names = ["photo.dat", ".hidden.png", "[1].png"]
        assert self.names(folder, *names) == names

    def test_errors(self, folder):
        (folder / "none").mkdir()
        for argument, words in {
            "bb.jpg": "bb.jpg does not exist; nearest: b.jpg",
            "none": "no photos in",
            "*.tiff": "matches no photos",
            "x" * 300: "does not exist",
        }.items():
            with pytest.raises(ConvlensError, match=words):
                find_photos([folder / argument])


class TestLists:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("b.jpg", "sub/a b.png", "sub/c.webp", "d.dat", "table.parquet"):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        return tmp_path

    def listed(self, folder, text, name="photos.txt"):
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return folder / name

    def test_one_path_a_line_from_the_folder_of_the_list(self, folder, monkeypatch):
        text = f"\ufeff# mine\n\nsub/c.webp\r\n  sub/a b.png \n{folder}/b.jpg\n#b.jpg\nsub/../d.dat"
        paths = find_photos([self.listed(folder, text)])
        assert [path.resolve() for path in paths] == [
            folder / name for name in ("sub/c.webp", "sub/a b.png", "b.jpg", "d.dat")
        ]
        monkeypatch.chdir(folder / "sub")
        assert find_photos(["../photos.txt"])[0] == Path("../sub/c.webp")

    def test_beside_other_arguments_each_once(self, folder):
        path = self.listed(folder, "sub/c.webp\nsub/c.webp\n", name="photos.TXT")
        assert find_photos([folder / "b.jpg", path, folder / "sub"]) == [
            folder / "b.jpg", folder / "sub/c.webp", folder / "sub/a b.png",
        ]  # fmt: skip

    def test_lists_in_folders_and_globs_are_no_photos(self, folder):
        self.listed(folder, "nonsense", name="sub/photos.txt")
        assert len(find_photos([folder / "sub"])) == 2
        assert len(find_photos([folder / "sub" / "*"])) == 2

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("b.jpg\n\nsub/c.web\n", r"photos\.txt, line 3: .*c\.web does not exist; .*c\.webp"),
            ("sub", r"photos\.txt, line 1: .*sub is a folder; a line names one photo"),
            ("table.parquet", r"line 1: .*table\.parquet is a table of photos, which patches"),
            ("# b.jpg\n \n", r"photos\.txt lists no photos; write one path a line"),
            ("x" * 300, "line 1: .* does not exist"),
            (b"caf\xe9.jpg", r"photos\.txt is not text in UTF-8"),
            (b"a\0b.jpg", "line 1: .* does not exist"),
        ],
    )
    def test_errors_name_file_and_line(self, folder, text, words):
        with pytest.raises(ConvlensError, match=words) as caught:
            find_photos([self.listed(folder, text)])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("argument", ["table.parquet", "*.parquet", "tables"])
    def test_tables_are_for_some_commands(self, folder, argument):
        (folder / "tables").mkdir()
        (folder / "tables" / "1.parquet").touch()
        with pytest.raises(ConvlensError, match=r"\.parquet is a table of photos, which patches"):
            find_photos([folder / argument])


class TestReadPhotos:
    def test_damaged_ones_are_left_out(self, tmp_path):
        paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
        photo(3, 3).save(paths[0])
        paths[1].touch()
        photo(4, 4).save(paths[2])
        photos, skipped = read_photos(paths)
        assert [entry.name for entry in photos] == ["a.png", "c.png"]
        assert [entry.path for entry in skipped] == [paths[1]]
        assert "is empty" in skipped[0].reason
        with pytest.raises(PhotoError, match=r"b\.png is empty"):
            read_photos(paths, strict=True)

    def test_none(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"PAR1")
        with pytest.raises(PhotoError, match="is a table of photos, which patches"):
            read_photo(tmp_path / "a.parquet")
        with pytest.raises(PhotoError, match=r"none of 2 photos .* first: .*a\.png"):
            read_photos([tmp_path / "a.png", tmp_path / "b.png"])


def test_photo_is_plain():
    read = Photo(photo(2, 2), "a.png")
    assert (read.path, read.notes) == (None, ())


def test_warnings_of_the_process_stay_as_they_are(tmp_path, monkeypatch):
    """Also where a thread begins to decode before another has ended, and ends after it."""
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    decode, begun, ended = photos.to_rgb, threading.Event(), threading.Event()

    def late(picture):
        begun.set()
        assert ended.wait(10)
        return decode(picture)

    def early(picture):
        second.start()
        assert begun.wait(10)
        return decode(picture)

    second = threading.Thread(target=read_photo, args=[tmp_path / "a.png"])
    before = list(warnings.filters)
    turns = iter([early, late])

    def in_turn(picture):
        return next(turns)(picture)

    monkeypatch.setattr(photos, "to_rgb", in_turn)
    read_photo(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="of the network"):
        warnings.warn("of the network", stacklevel=1)
    ended.set()
    second.join()
    assert list(warnings.filters) == before


def test_names_that_are_no_utf_8(tmp_path):
    """Read under their own name, called by one that can be written."""
    good, bad = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/g\xff", b"/b\xfe"))
    try:
        Image.new("RGB", (20, 20)).save(good, "PNG")
        bad.write_bytes(b"rubbish")
    except OSError:
        pytest.skip("this file system takes no such names")
    assert read_photo(good).name == r"g\xff"
    dataset = PhotoFiles([good, bad])
    assert dataset.name(0) == rf"{tmp_path}/g\xff"
    assert dataset[0] == good
    with pytest.raises(PhotoError, match=r"/b\\xfe is "):
        read_photo(dataset[1])
