"""Prepared photos that are kept in memory, for work that reads the same files several times."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convlens.data.photos import PhotoLike

Pixels = NDArray[np.uint8]


class PreparedPhotos:
    """The pixels of photo files after preprocessing, those that were used last.

    They are kept while a block of `keep` runs in any thread, since a section of the page reads its
    photos in threads of its own.

    Args:
        limit: largest number of bytes of all pixels together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._blocks = 0
        self._pixels: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._bytes = 0

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Keep the photos that are prepared inside the block until it ends."""
        with self._lock:
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks:
                    self._pixels.clear()
                    self._bytes = 0

    def find_or_prepare(
        self, photo: PhotoLike, settings: Hashable, prepare: Callable[[PhotoLike], Pixels]
    ) -> Pixels:
        """The pixels of a photo.

        Args:
            photo: the photo. Only files are kept; one that has changed is read again.
            settings: everything beside the photo on which its pixels depend.
            prepare: decodes and preprocesses the photo.

        Returns:
            uint8 pixels `(H, W, C)`, which the caller may change.

        Raises:
            PhotoError: what `prepare` raises.
        """
        key = _describe_file(photo) if self._blocks else None
        if key is None:
            return prepare(photo)
        key = (key, settings)
        with self._lock:
            pixels = self._pixels.get(key)
            if pixels is not None:
                self._pixels.move_to_end(key)
                return pixels.copy()
        pixels = prepare(photo)
        with self._lock:
            if self._blocks and key not in self._pixels:
                self._pixels[key] = pixels.copy()
                self._bytes += pixels.nbytes
                while self._bytes > self._limit:
                    _, oldest = self._pixels.popitem(last=False)
                    self._bytes -= oldest.nbytes
        return pixels


def _describe_file(photo: PhotoLike) -> Hashable | None:
    """What tells a file from another one, and from an earlier content; None for other photos."""
    if not isinstance(photo, (str, Path)):
        return None
    try:
        status = Path(photo).stat()
    except OSError:  # decoding says why
        return None
    return str(photo), status.st_ino, status.st_size, status.st_mtime_ns


PREPARED_PHOTOS = PreparedPhotos(limit=64_000_000)  # over 400 color images of 224 pixels
