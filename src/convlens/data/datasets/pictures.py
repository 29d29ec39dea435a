"""Photos in any form as a list, as files or as a data set: pictures in memory count as photos."""

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.data.photos import EncodedPhoto, Photo, PhotoLike, read_photo
from convlens.text import printable

if TYPE_CHECKING:  # importing torch takes seconds
    from torch import Tensor


def list_photos(photos: "PhotoLike | Iterable[PhotoLike | Tensor]") -> list[Any]:
    """One photo, or several, as a list; nothing is decoded.

    Args:
        photos: a path, a PIL image, a decoded or encoded photo, an array `(H, W)` or `(H, W, C)`,
            an array `(N, H, W, C)` of several photos, or a sequence or data set of photos.

    Example:
        >>> list_photos("cat.jpg"), len(list_photos(np.zeros((2, 8, 8, 3), np.uint8)))
        (['cat.jpg'], 2)
    """
    if isinstance(photos, np.ndarray):
        return list(photos) if photos.ndim > 3 else [photos]
    if isinstance(photos, (str, os.PathLike, Image.Image, Photo, EncodedPhoto)):
        return [photos]
    # A value of any other type is refused where it is read.
    return list(photos) if isinstance(photos, (Iterable, PhotoDataset)) else [photos]


def as_photos(
    photos: PhotoLike | Sequence[PhotoLike] | PhotoDataset,
) -> Sequence[str | Path] | PhotoDataset:
    """Photos in any form as paths, or as a data set.

    Args:
        photos: as `list_photos` takes them.

    Returns:
        Paths as they are, also one of them as a list; a data set as it is; pictures, also beside
        paths, as a data set in memory, in which they are PNG files.

    Raises:
        ConvlensError: what is no photo.
    """
    if isinstance(photos, PhotoDataset):
        return photos
    several = list_photos(photos)
    if all(isinstance(photo, (str, os.PathLike)) for photo in several):
        return several
    return PicturesInMemory(several)


class PicturesInMemory:
    """A photo data set of pictures that are in memory, and of files beside them.

    Example:
        >>> dataset = PicturesInMemory([Image.new("RGB", (4, 3)), "cat.jpg"])
        >>> len(dataset), dataset.name(0), dataset.name(1)
        (2, 'photo 1', 'cat.jpg')
    """

    def __init__(self, photos: Sequence[PhotoLike]) -> None:
        """Encode the pictures; files are not opened.

        Args:
            photos: pictures and paths, in the order of the data set.

        Raises:
            ConvlensError: what is no photo.
        """
        self._photos = [_as_file(photo, f"photo {n}") for n, photo in enumerate(photos, start=1)]

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Path | EncodedPhoto:
        return self._photos[index]

    def name(self, index: int) -> str:
        """The path of a file; the name of a picture, or its number."""
        photo = self._photos[index]
        return printable(photo if isinstance(photo, Path) else photo.name)

    def fingerprints(self) -> list[str]:
        """Name and content of each picture; path, size and modification time of each file."""
        return [f"{self.name(index)} {_state(photo)}" for index, photo in enumerate(self._photos)]


def _as_file(photo: PhotoLike, name: str) -> Path | EncodedPhoto:
    if isinstance(photo, (str, os.PathLike)):
        return Path(photo)
    if isinstance(photo, EncodedPhoto):
        return photo
    buffer = io.BytesIO()
    read_photo(photo).picture.save(buffer, format="PNG", compress_level=1)
    named = photo.name if isinstance(photo, Photo) else getattr(photo, "filename", "")
    return EncodedPhoto(buffer.getvalue(), f"{name} ({Path(named).name})" if named else name)


def _state(photo: Path | EncodedPhoto) -> str:
    if isinstance(photo, EncodedPhoto):
        return hashlib.sha256(photo.data).hexdigest()
    try:
        status = photo.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
