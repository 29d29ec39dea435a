"""Some of the photos of a pass: read again, also with another preprocessing."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from convlens.data.datasets.photo_dataset import PhotoDataset, as_dataset
from convlens.data.datasets.subset import PhotoSubset
from convlens.data.images import to_pixels
from convlens.data.photos import EncodedPhoto
from convlens.errors import PhotoError
from convlens.models.model import Model
from convlens.passes.source import PhotosOrImages, check_photos, open_source


def select_photos(
    model: Model, photos: PhotosOrImages, numbers: Sequence[int]
) -> PhotoDataset | Tensor:
    """The photos with some numbers, as a data set; of images those rows."""
    photos = check_photos(model, photos)
    if isinstance(photos, Tensor):
        return photos[list(numbers)]
    return PhotoSubset(as_dataset(photos), tuple(numbers))


def list_selected(photos: PhotoDataset | Tensor) -> list[Path | EncodedPhoto] | Tensor:
    """The photos of a data set as a list, none of them opened; images as they are."""
    if isinstance(photos, Tensor):
        return photos
    return [photos[number] for number in range(len(photos))]


def read_images(model: Model, photos: PhotoDataset | Tensor) -> Tensor:
    """All of some photos as images `(N, C, H, W)` on the model's device; N is at least 1.

    Raises:
        PhotoError: one of them cannot be read.
    """
    if isinstance(photos, Tensor):
        return photos.to(model.device)
    source = open_source(model, photos, strict=True)
    images: list[Tensor] = []
    # One at a time: photos are decoded ahead, and a damaged one is known by its number.
    for batch in source.batches([(number, number + 1) for number in range(len(source))]):
        if batch.images is None:
            raise PhotoError(batch.skipped[batch.start])
        images.append(batch.images)
    return torch.cat(images)


def read_pixels(model: Model, photos: PhotoDataset | Tensor) -> Tensor:
    """Some photos as the network sees them, uint8 `(N, H, W, 3)`."""
    if not len(photos):
        return torch.zeros(0, 1, 1, 3, dtype=torch.uint8)
    pixels = to_pixels(read_images(model, photos), model.bounds)
    return pixels.expand(-1, -1, -1, 3).contiguous() if pixels.shape[-1] == 1 else pixels[..., :3]
