"""Where a sweep's images come from: photos that are decoded ahead, or a tensor at hand."""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convlens.decoder import Decoder
from convlens.errors import ConvlensError, PhotoError
from convlens.images import from_pixels
from convlens.model import Model
from convlens.photos import Encoded

_AHEAD = 2  # batches that are decoded while the network runs


@runtime_checkable
class Album(Protocol):
    """Photo files in a fixed order, none of them opened yet; any process can be sent one."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, number: int) -> Path | Encoded:
        """One of them."""

    def name(self, number: int) -> str:
        """What a person calls it: its path, or its row in a table."""

    def marks(self) -> list[str]:
        """A line for each photo, its name first, that changes when the photo does."""


Given = Sequence[str | Path] | Album | Tensor


class Paths:
    """An album of files."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        # One array: another process reads it where it lies, without unpacking a million paths.
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Path:
        return Path(self.name(number))

    def name(self, number: int) -> str:
        """The path."""
        return os.fsdecode(self._paths[number])

    def marks(self) -> list[str]:
        """Path, size and time of change of each file."""
        marks = []
        for path in map(os.fsdecode, self._paths):
            try:
                found = Path(path).stat()
                marks.append(f"{path} {found.st_size} {found.st_mtime_ns}")
            except OSError:
                marks.append(f"{path} missing")
        return marks


def album_of(photos: Sequence[str | Path] | Album) -> Album:
    """Files as an album; an album as it is."""
    return photos if isinstance(photos, Album) else Paths(photos)


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


@dataclass(frozen=True)
class Decoded:
    """A batch as it travels from the process that decoded it.

    Attributes:
        start: number of the first in the data set.
        stop: number after the last.
        ids: the numbers of those that could be read.
        values: 8-bit pixels of photos, else images as they were given; None where there are none.
        last: whether the channels of `values` come last.
        skipped: reason by number of those that could not be read.
    """

    start: int
    stop: int
    ids: list[int]
    values: NDArray[Any] | None
    last: bool
    skipped: dict[int, str]

    def batch(self, model: Model) -> Batch:
        """As images for a model, on its device."""
        images = None
        if self.values is not None:
            values = torch.from_numpy(self.values)
            if values.dtype == torch.uint8:
                images = from_pixels(values, model.bounds)
            else:
                images = values.permute(0, 3, 1, 2) if self.last else values
            images = images.to(model.device)
        ids = torch.tensor(self.ids, dtype=torch.int64)
        return Batch(self.start, self.stop, ids, images, self.skipped)


class Portable(Protocol):
    """A data set as it is sent to other processes: without the network, and cheap to unpack."""

    def decode(self, start: int, stop: int) -> Decoded:
        """Images `start` to `stop`."""


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

    def marks(self) -> list[str]:
        """A line for each image that changes when the image does."""

    def portable(self) -> Portable:
        """What other processes need to make the same images."""


class Photos:
    """Photos, decoded by several threads ahead of the network."""

    def __init__(
        self, model: Model, photos: Sequence[str | Path] | Album, *, strict: bool = False
    ) -> None:
        self.album = album_of(photos)
        self.strict = strict
        self._model = model
        self._portable = PortablePhotos(model.decoder, self.album)

    def __len__(self) -> int:
        return len(self.album)

    def name(self, number: int) -> str:
        """Its path, or its row in a table."""
        return self.album.name(number)

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
                            pool.submit(self._portable.read, number)
                            for number in range(start, stop)
                        ]
                        waiting.append((start, stop, futures))
                    start, stop, futures = waiting.popleft()
                    reads = [future.result for future in futures]
                    yield _decoded(start, stop, reads).batch(self._model)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def marks(self) -> list[str]:
        """Those of the album."""
        return self.album.marks()

    def portable(self) -> "PortablePhotos":
        """The album and what decodes it."""
        return self._portable


@dataclass(frozen=True)
class PortablePhotos:
    """Photos without the network that they are for."""

    decoder: Decoder
    album: Album

    def decode(self, start: int, stop: int) -> Decoded:
        """Pixels of photos `start` to `stop`, one after the other."""
        reads = [partial(self.read, number) for number in range(start, stop)]
        return _decoded(start, stop, reads)

    def read(self, number: int) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)` of one photo.

        Raises:
            PhotoError: it cannot be read.
        """
        return self.decoder(self.album[number])


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

    def marks(self) -> list[str]:
        """The number of each image: what is in memory lasts no longer than the process."""
        return [str(number) for number in range(len(self))]

    def portable(self) -> "PortableImages":
        """The images as an array, in the memory layout that they have."""
        images = self._images.detach().cpu()
        last = not images.is_contiguous() and images.is_contiguous(
            memory_format=torch.channels_last
        )
        values = images.permute(0, 2, 3, 1) if last else images.contiguous()
        return PortableImages(values.numpy(), last)


@dataclass(frozen=True)
class PortableImages:
    """Images as an array, which another process reads where it lies."""

    values: NDArray[Any]
    last: bool

    def decode(self, start: int, stop: int) -> Decoded:
        """A part of the array."""
        ids = list(range(start, stop))
        return Decoded(start, stop, ids, self.values[start:stop], self.last, {})


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


def _decoded(start: int, stop: int, reads: Sequence[Callable[[], NDArray[np.uint8]]]) -> Decoded:
    ids, pixels, skipped = [], [], {}
    for number, read in enumerate(reads, start=start):
        try:
            pixels.append(read())
            ids.append(number)
        except PhotoError as error:
            skipped[number] = str(error)
    return Decoded(start, stop, ids, np.stack(pixels) if pixels else None, True, skipped)
