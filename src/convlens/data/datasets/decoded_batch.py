"""Batch decoders, which are sent to other processes, and the batches that they send back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.data.photo_decoder import PhotoDecoder
from convlens.errors import PhotoError


@dataclass(frozen=True)
class DecodedBatch:
    """A batch as the process that decoded it sends it.

    Attributes:
        start: index of the first image in the data set.
        stop: index after the last image.
        ids: indices of the images that could be read (n of them).
        values: uint8 pixels `(n, H, W, C)` of photos, or images as they were given; None if n is 0.
        channels_last: whether channels are the last dimension of `values`.
        skipped: reason by index, for images that could not be read.
    """

    start: int
    stop: int
    ids: list[int]
    values: NDArray[Any] | None
    channels_last: bool
    skipped: dict[int, str]


class BatchDecoder(Protocol):
    """What another process needs to decode a data set: without the network, cheap to unpickle."""

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """Decode images `start` to `stop`."""


@dataclass(frozen=True)
class PhotoBatchDecoder:
    """Decodes the photos of a data set.

    Attributes:
        decoder: decodes one photo.
        dataset: the photos.
    """

    decoder: PhotoDecoder
    dataset: PhotoDataset

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """Decode photos `start` to `stop` one after another."""
        reads = [partial(self.read, index) for index in range(start, stop)]
        return decode_batch(start, stop, reads)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)` of one photo.

        Raises:
            PhotoError: the photo cannot be read.
        """
        return self.decoder(self.dataset[index])


@dataclass(frozen=True)
class ImageBatchDecoder:
    """Slices an array of images, which another process reads from shared memory.

    Attributes:
        values: images `(N, C, H, W)`, or `(N, H, W, C)` if `channels_last`.
        channels_last: whether channels are the last dimension.
    """

    values: NDArray[Any]
    channels_last: bool

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """Images `start` to `stop`."""
        ids = list(range(start, stop))
        return DecodedBatch(start, stop, ids, self.values[start:stop], self.channels_last, {})


@dataclass(frozen=True)
class IndexBatchDecoder:
    """Gives indices with images that have no pixels, for passes that read saved results.

    Attributes:
        numbers: int64 `(N,)`, the indices.
    """

    numbers: NDArray[np.int64]

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """Indices `start` to `stop`."""
        ids = self.numbers[start:stop].tolist()
        empty = np.empty((len(ids), 0), dtype=np.float32)
        return DecodedBatch(start, stop, ids, empty, False, {})


def decode_batch(
    start: int, stop: int, reads: Sequence[Callable[[], NDArray[np.uint8]]]
) -> DecodedBatch:
    """Read photos and stack those that can be read.

    Args:
        start: index of the first photo.
        stop: index after the last photo.
        reads: one function for each photo that returns its pixels `(H, W, C)` or raises PhotoError.
    """
    ids, pixels, skipped = [], [], {}
    for index, read in enumerate(reads, start=start):
        try:
            pixels.append(read())
            ids.append(index)
        except PhotoError as error:
            skipped[index] = str(error)
    return DecodedBatch(start, stop, ids, np.stack(pixels) if pixels else None, True, skipped)
