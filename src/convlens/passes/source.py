"""Sources of images for a pass: photos that are decoded ahead of the network, or a tensor."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from convlens.data.datasets.decoded_batch import (
    BatchDecoder,
    DecodedBatch,
    ImageBatchDecoder,
    IndexBatchDecoder,
    PhotoBatchDecoder,
    decode_batch,
)
from convlens.data.datasets.photo_dataset import PhotoDataset, as_dataset
from convlens.data.datasets.pictures import as_photos
from convlens.data.datasets.read_ahead import batches_ahead, read_ahead
from convlens.data.images import from_pixels
from convlens.data.photos import PhotoLike
from convlens.errors import ConvlensError, PhotoError
from convlens.models.model import Model

PhotosOrImages = PhotoLike | Sequence[PhotoLike | Tensor] | PhotoDataset | Tensor


@dataclass(frozen=True)
class ImageBatch:
    """A batch of a data set's images.

    Attributes:
        start: number of the first image in the data set.
        stop: number after the last image.
        ids: int64 `(N,)`, the numbers of the images that could be read.
        images: these images, `(N, C, H, W)`; None if none could be read.
        skipped: the reason for each image that could not be read, by its number.
    """

    start: int
    stop: int
    ids: Tensor
    images: Tensor | None
    skipped: dict[int, str]


def to_batch(decoded: DecodedBatch, model: Model) -> ImageBatch:
    """Decoded pixels as images for a model, on its device."""
    images = None
    if decoded.values is not None:
        values = torch.from_numpy(decoded.values)
        if values.dtype == torch.uint8:
            images = from_pixels(values, model.bounds)
        else:
            images = values.permute(0, 3, 1, 2) if decoded.channels_last else values
        images = images.to(model.device)
    ids = torch.tensor(decoded.ids, dtype=torch.int64)
    return ImageBatch(decoded.start, decoded.stop, ids, images, decoded.skipped)


class Source(Protocol):
    """A data set in a fixed order.

    Attributes:
        strict: whether a photo that cannot be read ends the pass.
    """

    strict: bool

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""

    def __len__(self) -> int:
        """The number of images, readable or not."""

    def name(self, number: int) -> str:
        """The name of an image, for people."""

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[ImageBatch]:
        """A batch for each span, with the images `start` to `stop`."""

    def fingerprints(self) -> list[str]:
        """A line for each image, which changes when the image does."""

    def batch_decoder(self) -> BatchDecoder:
        """The data set as it is sent to other processes, without the network."""


class PhotoSource:
    """Photos, decoded by several threads ahead of the network.

    Attributes:
        dataset: the photos.
        strict: whether a photo that cannot be read ends the pass.
    """

    def __init__(
        self, model: Model, photos: Sequence[str | Path] | PhotoDataset, *, strict: bool = False
    ) -> None:
        self.dataset = as_dataset(photos)
        self.strict = strict
        self._model = model
        self._batch_decoder = PhotoBatchDecoder(model.photo_decoder, self.dataset)

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        height, width = self._model.size
        return height * width

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, number: int) -> str:
        """The path of the photo, or its row in a table."""
        return self.dataset.name(number)

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[ImageBatch]:
        """Batches of images, equal to what `model.prepare` makes of the photos."""
        pixels = self.pixels * max((stop - start for start, stop in spans), default=1)
        numbers = (range(start, stop) for start, stop in spans)
        reading = read_ahead(numbers, self._batch_decoder.read, ahead=batches_ahead(pixels))
        with closing(reading) as batches:
            for (start, stop), reads in zip(spans, batches, strict=True):
                yield to_batch(decode_batch(start, stop, reads), self._model)

    def fingerprints(self) -> list[str]:
        """Name, size and time of change of each photo."""
        return self.dataset.fingerprints()

    def batch_decoder(self) -> PhotoBatchDecoder:
        """The data set and the photo decoder."""
        return self._batch_decoder


class TensorSource:
    """Images `(N, C, H, W)` in memory, of which each batch is moved to the device of the network.

    Args:
        images: the images, on any device.
        device: of the network; default: that of the images.
    """

    strict = False

    def __init__(self, images: Tensor, device: torch.device | None = None) -> None:
        self._images, self._device = images, device or images.device

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        return self._images[0, 0].numel()

    def __len__(self) -> int:
        return len(self._images)

    def name(self, number: int) -> str:
        """The number of the image, in words."""
        return f"image {number}"

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[ImageBatch]:
        """Slices of the tensor."""
        for start, stop in spans:
            images = self._images[start:stop].to(self._device)
            yield ImageBatch(start, stop, torch.arange(start, stop), images, {})

    def fingerprints(self) -> list[str]:
        """The number of each image. No resumed process can have the same tensor in memory."""
        return [str(number) for number in range(len(self))]

    def batch_decoder(self) -> ImageBatchDecoder:
        """The images as an array that keeps their memory format."""
        images = self._images.detach().cpu()
        channels_last = not images.is_contiguous() and images.is_contiguous(
            memory_format=torch.channels_last
        )
        values = images.permute(0, 2, 3, 1) if channels_last else images.contiguous()
        return ImageBatchDecoder(values.numpy(), channels_last)


class NumberSource:
    """The numbers of some images without their pixels, for work on files written earlier."""

    strict = False

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self._source, self._numbers = source, numbers

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        return self._source.pixels

    def __len__(self) -> int:
        return len(self._numbers)

    def name(self, number: int) -> str:
        """The name of the image."""
        return self._source.name(self._numbers[number])

    def batches(self, spans: Sequence[tuple[int, int]]) -> Generator[ImageBatch]:
        """Batches of the numbers, with images that have no pixels."""
        for start, stop in spans:
            ids = torch.tensor(self._numbers[start:stop], dtype=torch.int64)
            yield ImageBatch(start, stop, ids, torch.empty(len(ids), 0, dtype=torch.float32), {})

    def fingerprints(self) -> list[str]:
        """The numbers as text."""
        return [str(number) for number in self._numbers]

    def batch_decoder(self) -> IndexBatchDecoder:
        """The numbers as an array."""
        return IndexBatchDecoder(np.array(self._numbers))


def check_photos(
    model: Model, photos: PhotosOrImages
) -> Sequence[str | Path] | PhotoDataset | Tensor:
    """What a pass is given, as paths, as a photo data set, or as images.

    Args:
        model: the model.
        photos: one photo or several, as `list_photos` takes them, a photo data set, or images as
            `Model.to_images` takes them, also as a list of tensors `(C, H, W)`.

    Raises:
        ConvlensError: what is no photo, or images that do not fit the model.
    """
    if isinstance(photos, Tensor) and photos.is_floating_point():
        return model.check(photos[None] if photos.ndim == 3 else photos)
    if isinstance(photos, Tensor):
        return model.prepare(photos)
    if isinstance(photos, (list, tuple)) and any(isinstance(photo, Tensor) for photo in photos):
        return model.prepare(photos)
    return as_photos(cast("PhotoLike | Sequence[PhotoLike] | PhotoDataset", photos))


def open_source(model: Model, photos: PhotosOrImages, *, strict: bool = False) -> Source:
    """A source of photo files, of a photo data set, or of images `(N, C, H, W)` inside the bounds.

    Raises:
        ConvlensError: if there are no photos, or as `check_photos`.
    """
    photos = check_photos(model, photos)
    if isinstance(photos, Tensor):
        return TensorSource(photos, model.device)
    if not len(photos):
        raise ConvlensError("no photos; give at least one")
    return PhotoSource(model, photos, strict=strict)


def read_first_images(source: Source, count: int) -> Tensor:
    """The first images that can be read, `(N, C, H, W)` with N at most `count`.

    Raises:
        PhotoError: if none can be read.
    """
    images: list[Tensor] = []
    for batch in source.batches([(number, number + 1) for number in range(len(source))]):
        if batch.images is not None:
            images.append(batch.images)
        if len(images) == count:
            break
    if not images:
        raise PhotoError(f"none of {len(source)} photos can be read")
    return torch.cat(images)


def read_images(source: Source, numbers: Sequence[int]) -> dict[int, Tensor]:
    """Images `(C, H, W)` by their number, in this order; for images that were read before.

    Raises:
        ConvlensError: if one of them cannot be read any more.
    """
    images: dict[int, Tensor] = {}
    for batch in source.batches([(number, number + 1) for number in numbers]):
        if batch.images is None:
            raise ConvlensError(
                f"{next(iter(batch.skipped.values()))}; the pass could read it before, so do "
                f"not change the photos during a run"
            )
        images[batch.start] = batch.images[0]
    return images


def read_image_batch(source: Source, numbers: Sequence[int]) -> Tensor:
    """Images by their number as one batch `(N, C, H, W)`, channels last; N is at least 1.

    Raises:
        ConvlensError: as `read_images`.
    """
    images = list(read_images(source, numbers).values())
    return torch.stack(images).contiguous(memory_format=torch.channels_last)
