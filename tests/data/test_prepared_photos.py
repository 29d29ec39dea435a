"""Prepared photos are kept while they are asked for, and never in place of changed files."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from convlens.data import photo_decoder
from convlens.data.photo_decoder import PhotoDecoder
from convlens.data.photos import Photo, PhotoLike, read_photo
from convlens.data.prepared_photos import PREPARED_PHOTOS, PreparedPhotos
from convlens.data.preprocessing import Preprocessing

_DECODER = PhotoDecoder(Preprocessing((4, 4)), "RGB")


@pytest.fixture
def read_photos() -> Iterator[list[PhotoLike]]:
    """The photos that were decoded, in order."""
    decoded: list[PhotoLike] = []

    def read(photo: PhotoLike) -> Photo:
        decoded.append(photo)
        return read_photo(photo)

    with patch.object(photo_decoder, "read_photo", read):
        yield decoded


def _save(path: Path, color: tuple[int, int, int]) -> Path:
    Image.new("RGB", (8, 6), color).save(path)
    return path


def test_a_file_is_decoded_once_inside_a_block(
    tmp_path: Path, read_photos: list[PhotoLike]
) -> None:
    path = _save(tmp_path / "red.png", (255, 0, 0))
    plain = _DECODER(path)
    with PREPARED_PHOTOS.keep(), PREPARED_PHOTOS.keep():
        first, second = _DECODER(path), _DECODER(str(path))
        assert len(read_photos) == 2
        first[:] = 7  # nobody else has this array
        assert np.array_equal(_DECODER(path), plain)
        assert np.array_equal(second, plain)
        gray = PhotoDecoder(Preprocessing((4, 4)), "L")(path)
        larger = PhotoDecoder(Preprocessing((5, 4)), "RGB")(path)
        assert (gray.shape, larger.shape) == ((4, 4, 1), (5, 4, 3))
    count = len(read_photos)
    _DECODER(path)
    assert len(read_photos) == count + 1  # nothing is kept after the block


def test_a_changed_file_is_decoded_again(tmp_path: Path, read_photos: list[PhotoLike]) -> None:
    path = _save(tmp_path / "photo.png", (255, 0, 0))
    with PREPARED_PHOTOS.keep():
        _DECODER(path)
        _save(path, (0, 255, 0))
        os.utime(path, ns=(1, 1))
        assert _DECODER(path)[0, 0].tolist() == [0, 255, 0]
        path.unlink()
        with pytest.raises(Exception, match="does not exist"):
            _DECODER(path)


def test_pictures_in_memory_are_not_kept(read_photos: list[PhotoLike]) -> None:
    picture = Image.new("RGB", (8, 6), (255, 0, 0))
    with PREPARED_PHOTOS.keep():
        _DECODER(picture)
        picture.paste((0, 0, 255), (0, 0, 8, 6))
        assert _DECODER(picture)[0, 0].tolist() == [0, 0, 255]


def test_the_oldest_photos_make_room(tmp_path: Path) -> None:
    photos = PreparedPhotos(limit=2 * 48)  # two of 4 x 4 pixels
    paths = [_save(tmp_path / f"{number}.png", (number, 0, 0)) for number in range(3)]
    prepared: list[PhotoLike] = []

    def prepare(photo: PhotoLike) -> np.ndarray:
        prepared.append(photo)
        return np.zeros((4, 4, 3), dtype=np.uint8)

    with photos.keep():
        for path in (paths[0], paths[1], paths[0], paths[2], paths[0], paths[1]):
            photos.find_or_prepare(path, "settings", prepare)
    assert prepared == [paths[0], paths[1], paths[2], paths[1]]
