"""Prepared photos that are kept in memory, for work that reads the same files several times."""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convlens.data.lru_cache import LRUCache
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
        self._pixels: LRUCache[Pixels] | None = None  # inside a block

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Keep the photos that are prepared inside the block until it ends."""
        with self._lock:
            self._blocks += 1
            self._pixels = self._pixels or LRUCache(self._limit)
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if not self._blocks:
                    self._pixels = None

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
        cache = self._pixels
        file = None if cache is None else _describe_file(photo)
        if cache is None or file is None:
            return prepare(photo)

        def prepare_and_measure() -> tuple[Pixels, int]:
            pixels = prepare(photo)
            return pixels, pixels.nbytes

        return cache.get((file, settings), prepare_and_measure).copy()


def _describe_file(photo: PhotoLike) -> Hashable | None:
    """What tells a file from another one, and from an earlier content; None for other photos."""
    if not isinstance(photo, (str, Path)):
        return None
    try:
        status = Path(photo).stat()
    except OSError:  # decoding says why
        return None
    return str(photo), status.st_ino, status.st_size, status.st_mtime_ns


PREPARED_PHOTOS = PreparedPhotos(limit=256_000_000)  # 1,700 color images of 224 pixels, 20 of 2000
