"""What is decoded: batches of pixels on their way from one process to another."""

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
    """A batch as it travels from the process that decoded it.

    Attributes:
        start: number of the first in the data set.
        stop: number after the last.
        ids: the numbers of those that could be read.
        values: 8-bit pixels of photos, else images as they were given; None where there are none.
        channels_last: whether the channels of `values` come last.
        skipped: reason by number of those that could not be read.
    """

    start: int
    stop: int
    ids: list[int]
    values: NDArray[Any] | None
    channels_last: bool
    skipped: dict[int, str]


class BatchDecoder(Protocol):
    """A data set as it is sent to other processes: without the network, and cheap to unpack."""

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """Images `start` to `stop`."""


@dataclass(frozen=True)
class PhotoBatchDecoder:
    """Photos without the network that they are for."""

    decoder: PhotoDecoder
    dataset: PhotoDataset

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """Pixels of photos `start` to `stop`, one after the other."""
        reads = [partial(self.read, number) for number in range(start, stop)]
        return decode_batch(start, stop, reads)

    def read(self, number: int) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)` of one photo.

        Raises:
            PhotoError: it cannot be read.
        """
        return self.decoder(self.dataset[number])


@dataclass(frozen=True)
class ImageBatchDecoder:
    """Images as an array, which another process reads where it lies."""

    values: NDArray[Any]
    channels_last: bool

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """A part of the array."""
        ids = list(range(start, stop))
        return DecodedBatch(start, stop, ids, self.values[start:stop], self.channels_last, {})


@dataclass(frozen=True)
class IndexBatchDecoder:
    """Numbers alone."""

    numbers: NDArray[np.int64]

    def decode(self, start: int, stop: int) -> DecodedBatch:
        """Some of them, with images of no pixels."""
        ids = self.numbers[start:stop].tolist()
        return DecodedBatch(start, stop, ids, np.empty((len(ids), 0), dtype=np.float32), False, {})


def decode_batch(
    start: int, stop: int, reads: Sequence[Callable[[], NDArray[np.uint8]]]
) -> DecodedBatch:
    """Photos `start` to `stop`, each read by a function; what cannot be read is left out."""
    ids, pixels, skipped = [], [], {}
    for number, read in enumerate(reads, start=start):
        try:
            pixels.append(read())
            ids.append(number)
        except PhotoError as error:
            skipped[number] = str(error)
    return DecodedBatch(start, stop, ids, np.stack(pixels) if pixels else None, True, skipped)
