"""A sample of photos, prepared for two models; and what a comparison on them costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.comparison.answers.answer_work import rescale
from convlens.data.sampling import spread
from convlens.errors import ConvlensError, PhotoError
from convlens.html.numbers import short
from convlens.models.model import Model
from convlens.passes.source import (
    PhotosOrImages,
    check_photos,
    open_source,
    read_image_batch,
    read_images,
)
from convlens.tracing.trace import Trace
from convlens.wording import counted


@dataclass(frozen=True)
class PhotoSample:
    """Some photos of a data set, evenly spread, as the images of two models.

    Attributes:
        numbers: their numbers in the data set.
        names: their names.
        first: `(N, C, H, W)`, the images of the first model.
        second: the images of the second model.
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    first: Tensor
    second: Tensor

    @property
    def ids(self) -> Tensor:
        """The numbers as int64 `(N,)`."""
        return torch.tensor(self.numbers, dtype=torch.int64)


def sample_photos(first: Model, second: Model, photos: PhotosOrImages, most: int) -> PhotoSample:
    """Read at most `most` photos, evenly spread over those that can be read.

    Raises:
        PhotoError: none of them can be read.
    """
    source = open_source(first, photos)
    spans = [(number, number + 1) for number in spread(range(len(source)), most)]
    images: dict[int, Tensor] = {}
    for batch in source.batches(spans):
        if batch.images is not None:
            images[batch.start] = batch.images[0]
    if not images:
        raise PhotoError(f"none of {counted(len(spans), 'photo')} can be read")
    return _prepare(first, second, photos, images)


def read_sample(
    first: Model, second: Model, photos: PhotosOrImages, numbers: Sequence[int]
) -> PhotoSample:
    """Read photos that were read before, by their numbers."""
    source = open_source(first, photos)
    return _prepare(first, second, photos, read_images(source, numbers))


def _prepare(
    first: Model, second: Model, photos: PhotosOrImages, images: dict[int, Tensor]
) -> PhotoSample:
    source = open_source(first, photos)
    stacked = torch.stack(list(images.values())).contiguous(memory_format=torch.channels_last)
    if isinstance(check_photos(first, photos), Tensor):
        second_images = rescale(stacked, first, second)
    else:
        second_images = read_image_batch(open_source(second, photos), list(images))
    return PhotoSample(
        numbers=tuple(images),
        names=tuple(source.name(number) for number in images),
        first=stacked.to(first.device),
        second=second_images.to(second.device),
    )


def count_photos(first: Model, photos: PhotosOrImages, most: int) -> int:
    """The number of photos of a sample, before they are read."""
    return min(len(open_source(first, photos)), most)


def check_enough_photos(purpose: str, count: int, least: int) -> None:
    """Raise ConvlensError where chance alone would make everything alike on so few photos.

    Args:
        purpose: what the photos are for, such as "to compare layers by CKA".
        count: number of photos.
        least: number that is needed.
    """
    if count < least:
        raise ConvlensError(
            f"too few photos {purpose}: {counted(count, 'photo')}, at least {least} are needed"
        )


def count_forward_multiply_adds(trace: Trace) -> int:
    """Multiply-adds of a forward pass of one image."""
    return sum(trace.multiply_adds(operation) for operation in trace.recording.operations)


def describe_cost(
    comparison: str, traces: tuple[Trace, Trace], passes: int, megabytes: float
) -> str:
    """The cost of a comparison in words, before it runs.

    Args:
        comparison: its name, such as "CKA of 12 by 12 layers".
        traces: of both networks.
        passes: number of forward passes of each network.
        megabytes: memory for what is kept of the layers.
    """
    multiply_adds = passes * sum(map(count_forward_multiply_adds, traces))
    return (
        f"{comparison}: {passes} forward passes of each network ({short(multiply_adds)} "
        f"multiply-adds together) and about {max(1, round(megabytes)):,} MB"
    )
