"""Where a sweep's images come from: photos that are decoded ahead, or a tensor at hand."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from convlens.errors import ConvlensError, PhotoError
from convlens.model import Model

_AHEAD = 2  # batches that are decoded while the network runs


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


class Source(Protocol):
    """A data set in a fixed order."""

    def __len__(self) -> int:
        """How many images there are, readable or not."""

    def batches(self, spans: Sequence[tuple[int, int]]) -> Iterator[Batch]:
        """Images `start` to `stop` of each span, one batch each."""

    def marks(self) -> list[str]:
        """A line for each image that changes when the image does."""


class Photos:
    """Photo files, decoded by several threads ahead of the network."""

    def __init__(self, model: Model, paths: Sequence[Path], *, strict: bool = False) -> None:
        self._model = model
        self._paths = paths
        self._strict = strict

    def __len__(self) -> int:
        return len(self._paths)

    def batches(self, spans: Sequence[tuple[int, int]]) -> Iterator[Batch]:
        """Batches of images as `model.prepare` makes them.

        Raises:
            PhotoError: with `strict`, the first photo that cannot be read.
        """
        waiting: deque[tuple[int, int, list[Future[Tensor]]]] = deque()
        left = deque(spans)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                while left or waiting:
                    while left and len(waiting) <= _AHEAD:
                        start, stop = left.popleft()
                        futures = [
                            pool.submit(self._model.prepare, path)
                            for path in self._paths[start:stop]
                        ]
                        waiting.append((start, stop, futures))
                    yield self._gather(*waiting.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def marks(self) -> list[str]:
        """Path, size and time of change of each file."""
        marks = []
        for path in self._paths:
            try:
                found = path.stat()
                marks.append(f"{path} {found.st_size} {found.st_mtime_ns}")
            except OSError:
                marks.append(f"{path} missing")
        return marks

    def _gather(self, start: int, stop: int, futures: list[Future[Tensor]]) -> Batch:
        ids, images, skipped = [], [], {}
        for number, future in enumerate(futures, start=start):
            try:
                images.append(future.result())
                ids.append(number)
            except PhotoError as error:
                if self._strict:
                    raise
                skipped[number] = str(error)
        together = torch.cat(images) if images else None
        if together is not None:
            together = together.contiguous(memory_format=torch.channels_last)
        return Batch(start, stop, torch.tensor(ids, dtype=torch.int64), together, skipped)


class Images:
    """Images `(N, C, H, W)` in memory."""

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def batches(self, spans: Sequence[tuple[int, int]]) -> Iterator[Batch]:
        """Slices of the tensor."""
        for start, stop in spans:
            yield Batch(start, stop, torch.arange(start, stop), self._images[start:stop], {})

    def marks(self) -> list[str]:
        """The number of each image: what is in memory lasts no longer than the process."""
        return [str(number) for number in range(len(self))]


def given(model: Model, photos: Sequence[str | Path] | Tensor, *, strict: bool = False) -> Source:
    """Files, or images `(N, C, H, W)` inside the bounds, as a source.

    Raises:
        ConvlensError: none, or images that the model does not take.
    """
    if isinstance(photos, Tensor):
        return Images(model.check(photos))
    if not photos:
        raise ConvlensError("no photos; give at least one")
    return Photos(model, [Path(photo) for photo in photos], strict=strict)


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
