"""StreamedImages: labeled photos that are decoded each time they are used."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convlens.data.datasets.read_ahead import BATCHES_AHEAD, batches_ahead, read_ahead
from convlens.data.photo_decoder import PhotoDecoder
from convlens.data.photos import SkippedPath
from convlens.errors import ConvlensError, PhotoError
from convlens.training.data.labeled_images import LabeledImages, PixelSums, digest, to_digests

_PHOTOS_AT_ONCE = 64  # read ahead while photos are measured


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Photos in files with their classes; memory holds the pixels of a few batches only.

    It has the same methods as `LabeledImages` and gives the same pixels.

    Attributes:
        paths: the photos, all of which could be read.
        classes: int64 `(N,)`, counted from 0.
        decoder: decodes one photo.
        digests: uint8 `(N, 16)`, a hash of the pixels of each photo.
        pixel_sums: sums over the pixels of each photo.
    """

    paths: tuple[Path, ...]
    classes: Tensor
    decoder: PhotoDecoder
    digests: Tensor
    pixel_sums: PixelSums

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Tensor) -> "StreamedImages":
        numbers = torch.arange(len(self))[index]
        return StreamedImages(
            tuple(self.paths[number] for number in numbers.tolist()),
            self.classes[numbers],
            self.decoder,
            self.digests[numbers],
            self.pixel_sums[numbers],
        )

    @property
    def pixels(self) -> Tensor:
        """All pixels, uint8 `(N, H, W, C)`: decodes every photo, and needs the memory for them."""
        return self.read(torch.arange(len(self))).pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return *self.decoder.preprocessing.size, len(self.decoder.mode)

    def read(self, indices: Tensor) -> LabeledImages:
        """Decode the images of the given indices."""
        with closing(self.batches([indices])) as batches:
            return next(batches)

    def batches(self, indices: Iterable[Tensor]) -> Generator[LabeledImages]:
        """Decode batches one after the other, in several threads ahead of their use.

        Args:
            indices: for each batch the indices of its images.

        Yields:
            The images of each batch.

        Raises:
            ConvlensError: a photo cannot be read any more.
        """
        height, width, channels = self.shape
        numbers: list[list[int]] = []  # of the batches that are being decoded

        def note_numbers() -> Generator[list[int]]:
            for batch in indices:
                numbers.append(batch.tolist())
                yield numbers[-1]

        ahead = batches_ahead(height * width * _PHOTOS_AT_ONCE)
        with closing(read_ahead(note_numbers(), self._decode, ahead=ahead)) as decoded:
            for getters in decoded:
                pixels = np.empty((len(getters), height, width, channels), np.uint8)
                for row, get in enumerate(getters):
                    pixels[row] = get()
                yield LabeledImages(torch.from_numpy(pixels), self.classes[numbers.pop(0)])

    def _decode(self, number: int) -> np.ndarray:
        try:
            return self.decoder(self.paths[number])
        except PhotoError as error:
            raise ConvlensError(
                f"{error}; it could be read before, so do not change the photos during a training"
            ) from error


def measure_photos(
    paths: Sequence[Path],
    classes: Tensor,
    decoder: PhotoDecoder,
    progress: Callable[[int, int], None],
    *,
    strict: bool,
) -> tuple[StreamedImages, dict[int, SkippedPath]]:
    """Decode every photo once, and keep what is needed of it besides its pixels.

    Args:
        paths: the photos.
        classes: int64 `(N,)`.
        decoder: decodes one photo.
        progress: called with the number of photos decoded and the total.
        strict: raise for the first photo that cannot be read.

    Returns:
        The photos that can be read, and those that cannot by their number.

    Raises:
        PhotoError: with `strict`, a photo that cannot be read.
    """
    channels = len(decoder.mode)
    hashes = [bytes(16)] * len(paths)  # of those that cannot be read they are not used
    sums = PixelSums.zeros(len(paths), channels)
    failed: dict[int, SkippedPath] = {}

    def measure(number: int) -> None:
        try:
            pixels = decoder(paths[number])
        except PhotoError as error:
            if strict:
                raise
            failed[number] = SkippedPath(paths[number], str(error))
            return
        hashes[number] = digest(pixels)
        sums.set(number, PixelSums.of(torch.from_numpy(pixels)[None]))

    groups = [
        range(start, min(start + _PHOTOS_AT_ONCE, len(paths)))
        for start in range(0, len(paths), _PHOTOS_AT_ONCE)
    ]
    num_measured = 0
    with closing(read_ahead(groups, measure, ahead=BATCHES_AHEAD)) as measured:
        for getters in measured:
            for get in getters:
                get()
                num_measured += 1
                progress(num_measured, len(paths))
    images = StreamedImages(tuple(paths), classes, decoder, to_digests(hashes), sums)
    readable = [number for number in range(len(paths)) if number not in failed]
    return images[torch.tensor(readable, dtype=torch.int64)], failed
