"""Where a sweep's images come from: photos that are decoded ahead, or a tensor at hand."""

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convlens.data.datasets import PhotoDataset, as_dataset
from convlens.data.datasets.decoded_batch import (
    BatchDecoder,
    DecodedBatch,
    ImageBatchDecoder,
    IndexBatchDecoder,
    PhotoBatchDecoder,
    decode_batch,
)
from convlens.data.images import from_pixels
from convlens.errors import ConvlensError, PhotoError
from convlens.models.model import Model

_AHEAD = 2  # batches that are decoded while the network runs

Given = Sequence[str | Path] | PhotoDataset | Tensor


@dataclass(frozen=True)
class Batch:
    """Some of a data set's images.

    Attributes:
        start: number of the first in the data set.
        stop: number after the last.
        ids: int64, the numbers of those that could be read.
        images: `(N, C, H, W)`, these; None where there are none.
        skipped: reason by number of those that could not be read.
    """

    start: int
    stop: int
    ids: Tensor
    images: Tensor | None
    skipped: dict[int, str]


def batch_of(decoded: DecodedBatch, model: Model) -> Batch:
    """What was decoded as images for a model, on its device."""
    images = None
    if decoded.values is not None:
        values = torch.from_numpy(decoded.values)
        if values.dtype == torch.uint8:
            images = from_pixels(values, model.bounds)
        else:
            images = values.permute(0, 3, 1, 2) if decoded.channels_last else values
        images = images.to(model.device)
    ids = torch.tensor(decoded.ids, dtype=torch.int64)
    return Batch(decoded.start, decoded.stop, ids, images, decoded.skipped)


class Source(Protocol):
    """A data set in a fixed order.

    Attributes:
        strict: whether a photo that cannot be read ends the sweep.
    """

    strict: bool

    def __len__(self) -> int:
        """How many images there are, readable or not."""

    def name(self, number: int) -> str:
        """What a person calls an image."""

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[Batch]:
        """Images `start` to `stop` of each span, one batch each."""

    def fingerprints(self) -> list[str]:
        """A line for each image that changes when the image does."""

    def batch_decoder(self) -> BatchDecoder:
        """What other processes need to make the same images."""


class Photos:
    """Photos, decoded by several threads ahead of the network."""

    def __init__(
        self, model: Model, photos: Sequence[str | Path] | PhotoDataset, *, strict: bool = False
    ) -> None:
        self.dataset = as_dataset(photos)
        self.strict = strict
        self._model = model
        self._batch_decoder = PhotoBatchDecoder(model.photo_decoder, self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, number: int) -> str:
        """Its path, or its row in a table."""
        return self.dataset.name(number)

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[Batch]:
        """Batches of images as `model.prepare` makes them."""
        waiting: deque[tuple[int, int, list[Future[NDArray[np.uint8]]]]] = deque()
        left = deque(spans)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                while left or waiting:
                    while left and len(waiting) <= _AHEAD:
                        start, stop = left.popleft()
                        futures = [
                            pool.submit(self._batch_decoder.read, number)
                            for number in range(start, stop)
                        ]
                        waiting.append((start, stop, futures))
                    start, stop, futures = waiting.popleft()
                    reads = [future.result for future in futures]
                    yield batch_of(decode_batch(start, stop, reads), self._model)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def fingerprints(self) -> list[str]:
        """Those of the album."""
        return self.dataset.fingerprints()

    def batch_decoder(self) -> PhotoBatchDecoder:
        """The album and what decodes it."""
        return self._batch_decoder


class Images:
    """Images `(N, C, H, W)` in memory."""

    strict = False

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def name(self, number: int) -> str:
        """Its number."""
        return f"image {number}"

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[Batch]:
        """Slices of the tensor."""
        for start, stop in spans:
            yield Batch(start, stop, torch.arange(start, stop), self._images[start:stop], {})

    def fingerprints(self) -> list[str]:
        """The number of each image: what is in memory lasts no longer than the process."""
        return [str(number) for number in range(len(self))]

    def batch_decoder(self) -> ImageBatchDecoder:
        """The images as an array, in the memory layout that they have."""
        images = self._images.detach().cpu()
        last = not images.is_contiguous() and images.is_contiguous(
            memory_format=torch.channels_last
        )
        values = images.permute(0, 2, 3, 1) if last else images.contiguous()
        return ImageBatchDecoder(values.numpy(), last)


class Numbers:
    """Some of a data set's numbers without their images, for work on what was written of them."""

    strict = False

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def name(self, number: int) -> str:
        """That of the image."""
        return self._source.name(self._numbers[number])

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[Batch]:
        """The numbers, and images without pixels."""
        for start, stop in spans:
            ids = torch.tensor(self._numbers[start:stop])
            yield Batch(start, stop, ids, torch.empty(len(ids), 0), {})

    def fingerprints(self) -> list[str]:
        """The numbers."""
        return [str(number) for number in self._numbers]

    def batch_decoder(self) -> IndexBatchDecoder:
        """The numbers as an array."""
        return IndexBatchDecoder(np.array(self._numbers))


def given(model: Model, photos: Given, *, strict: bool = False) -> Source:
    """Photo files, an album, or images `(N, C, H, W)` inside the bounds, as a source.

    Raises:
        ConvlensError: none, or images that the model does not take.
    """
    if isinstance(photos, Tensor):
        return Images(model.check(photos))
    if not len(photos):
        raise ConvlensError("no photos; give at least one")
    return Photos(model, photos, strict=strict)


def first(source: Source, count: int) -> Tensor:
    """The first images `(N, C, H, W)` that can be read, at most so many.

    Raises:
        PhotoError: none can.
    """
    found: list[Tensor] = []
    for one in source.batches([(number, number + 1) for number in range(len(source))]):
        if one.images is not None:
            found.append(one.images)
        if len(found) == count:
            break
    if not found:
        raise PhotoError(f"none of {len(source)} photos can be read")
    return torch.cat(found)
