"""Labeled images in memory, and what a training needs of labeled images wherever they are."""

import hashlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_DIGEST_BYTES = 16
_VALUES_AT_ONCE = 2**23  # values in one piece; each needs 16 bytes for a moment


@dataclass(frozen=True)
class PixelSums:
    """Sums over the pixels of each image, from which mean and standard deviation follow.

    They are whole numbers, so that sums of them do not depend on the order of the images.

    Attributes:
        levels: int64 `(N, C)`, the sum of the levels 0 to 255.
        squares: int64 `(N, C)`, the sum of their squares.
    """

    levels: Tensor
    squares: Tensor

    @classmethod
    def zeros(cls, count: int, channels: int) -> "PixelSums":
        """Sums of nothing."""
        return cls(*(torch.zeros(count, channels, dtype=torch.int64) for _ in range(2)))

    @classmethod
    def of(cls, pixels: Tensor) -> "PixelSums":
        """The sums of uint8 pixels `(N, H, W, C)`."""
        pieces = pixels.split(max(1, _VALUES_AT_ONCE // max(1, pixels[0].numel())))
        levels = [piece.sum(dim=(1, 2), dtype=torch.int64) for piece in pieces]
        squares = [piece.to(torch.int64).square().sum(dim=(1, 2)) for piece in pieces]
        return cls(torch.cat(levels), torch.cat(squares))

    def __getitem__(self, index: Tensor) -> "PixelSums":
        return PixelSums(self.levels[index], self.squares[index])

    def set(self, number: int, sums: "PixelSums") -> None:
        """Set the sums of an image."""
        self.levels[number], self.squares[number] = sums.levels[0], sums.squares[0]


class TrainingImages(Protocol):
    """Labeled images: in memory (`LabeledImages`) or in files (`StreamedImages`)."""

    @property
    def pixels(self) -> Tensor:
        """All pixels, uint8 `(N, H, W, C)`, C of 1 (gray) or 3 (RGB)."""

    @property
    def classes(self) -> Tensor:
        """The class of each image, int64 `(N,)`, counted from 0."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""

    @property
    def digests(self) -> Tensor:
        """A hash of the pixels of each image, uint8 `(N, 16)`."""

    @property
    def pixel_sums(self) -> PixelSums:
        """Sums over the pixels of each image."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: Tensor) -> "TrainingImages":
        """Some of the images, by their numbers or by a mask."""

    def read(self, indices: Tensor) -> "LabeledImages":
        """Some of the images with their pixels."""

    def batches(self, indices: Iterable[Tensor]) -> Generator["LabeledImages"]:
        """The images of each batch with their pixels, by the indices of each batch."""


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images and their classes.

    Attributes:
        pixels: uint8 `(N, H, W, C)`, C of 1 (gray) or 3 (RGB).
        classes: int64 `(N,)`, counted from 0.
    """

    pixels: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Tensor) -> "LabeledImages":
        return LabeledImages(self.pixels[index], self.classes[index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.pixels.shape[1:]
        return height, width, channels

    @cached_property
    def digests(self) -> Tensor:
        """A hash of the pixels of each image, uint8 `(N, 16)`."""
        return to_digests(map(digest, self.pixels.contiguous().numpy()))

    @cached_property
    def pixel_sums(self) -> PixelSums:
        """Sums over the pixels of each image."""
        return PixelSums.of(self.pixels)

    def read(self, indices: Tensor) -> "LabeledImages":
        """Some of the images."""
        return self[indices.to(self.pixels.device)]

    def batches(self, indices: Iterable[Tensor]) -> Generator["LabeledImages"]:
        """The images of each batch, by the indices of each batch."""
        for batch in indices:
            yield self.read(batch)


def digest(pixels: NDArray[np.uint8]) -> bytes:
    """A hash of the pixels of an image, 16 bytes."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=_DIGEST_BYTES).digest()


def to_digests(hashes: Iterable[bytes]) -> Tensor:
    """The hashes of images as a tensor, uint8 `(N, 16)`."""
    levels = np.frombuffer(bytearray().join(hashes), np.uint8)
    return torch.from_numpy(levels).view(-1, _DIGEST_BYTES)


def make_labeled_images(pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> LabeledImages:
    """Wrap arrays `(N, H, W)` or `(N, H, W, C)` and classes `(N,)` without copying them."""
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return LabeledImages(torch.from_numpy(pixels), torch.from_numpy(classes))
