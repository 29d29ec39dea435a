"""Labeled images in memory: `LabeledImages`, and `Dataset` with its validation split."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convlens.data.photos import SkippedPhoto
from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError

_MAX_NAMED = 3  # classes listed in a note


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


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labeled images to train and to validate on.

    Attributes:
        name: name or path of the data.
        train: images to train on.
        validation: images to validate on, none of which is trained on.
        labels: names of the classes by index.
        preprocessing: how a photo becomes an image of this size.
        held_out: where the validation images come from, in words.
        validation_share: share of each class that was held out; None for data with validation
            images of its own.
        skipped: files that were left out.
        notes: warnings about the data, e.g. classes without images.
    """

    name: str
    train: LabeledImages
    validation: LabeledImages
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    held_out: str
    validation_share: float | None = None
    skipped: tuple[SkippedPhoto, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.preprocessing.size

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for color."""
        return self.train.pixels.shape[3]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all pixels, classes and labels."""
        digest = hashlib.sha256(repr((self.labels, self.train.pixels.shape)).encode())
        for split_validation in (self.train, self.validation):
            for tensor in (split_validation.pixels, split_validation.classes):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]


def split_validation(
    images: LabeledImages, labels: Sequence[str], share: float, seed: int
) -> tuple[LabeledImages, LabeledImages]:
    """Hold out a share of each class, and at least one image of each class that has two.

    Args:
        images: all images.
        labels: names of the classes by index.
        share: the share to hold out, between 0 and 1.
        seed: seed of the choice.

    Returns:
        The images to train on and those held out, both in the order of `images`.

    Raises:
        ConvlensError: a share outside 0 to 1, or no class with two images.
    """
    if not 0 < share < 1:
        raise ConvlensError(f"a validation share of {share:g}; give more than 0 and less than 1")
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(images), dtype=torch.bool)
    for number in range(len(labels)):
        members = (images.classes == number).nonzero().flatten()
        count = min(max(1, round(share * len(members))), len(members) - 1)
        if count > 0:
            held_members = torch.randperm(len(members), generator=generator)[:count]
            held_out[members[held_members]] = True
    if not held_out.any():
        raise ConvlensError("no class has two images, so none can be held out for validation")
    return images[~held_out], images[held_out]


def check_classes(images: LabeledImages, labels: Sequence[str], data_name: str) -> tuple[str, ...]:
    """Check that at least two classes have images, and warn about classes with none or one.

    Args:
        images: the training images.
        labels: names of the classes by index.
        data_name: name of the data set for error messages.

    Returns:
        Warnings, one sentence each.

    Raises:
        ConvlensError: no images, or fewer than two classes with images.
    """
    if len(images) == 0:
        raise ConvlensError(
            f"{data_name} holds no images; give a folder with one folder for each class"
        )
    counts = torch.bincount(images.classes, minlength=len(labels)).tolist()
    present = [label for label, count in zip(labels, counts, strict=True) if count]
    if len(present) < 2:
        raise ConvlensError(
            f"all {len(images)} images of {data_name} are of one class, {present[0]!r}; "
            f"at least two are needed to tell them apart"
        )
    notes = []
    empty = [label for label, count in zip(labels, counts, strict=True) if count == 0]
    if empty:
        notes.append(f"no image of {_name_classes(empty)}: never answered rightly")
    single = [label for label, count in zip(labels, counts, strict=True) if count == 1]
    if single:
        notes.append(f"one image only of {_name_classes(single)}: trained on, but not validated")
    return tuple(notes)


def check_pixels_fit_memory(pixels: int, data_name: str) -> None:
    """Raise ConvlensError if the pixels, in bytes, need more than half of the free memory."""
    free = available_memory()
    if free is not None and pixels > free / 2:
        raise ConvlensError(
            f"{data_name} takes {pixels / 2**30:.1f} GiB as pixels and {free / 2**30:.1f} GiB of "
            f"memory are free, half of which training needs; give a smaller --size or fewer images"
        )


def available_memory() -> int | None:
    """Free main memory in bytes, or None if the operating system does not report it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - not a file of ours
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def make_labeled_images(pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> LabeledImages:
    """Wrap arrays `(N, H, W)` or `(N, H, W, C)` and classes `(N,)` without copying them."""
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return LabeledImages(torch.from_numpy(pixels), torch.from_numpy(classes))


def _name_classes(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _MAX_NAMED} more classes" if len(labels) > _MAX_NAMED else ""
    return ", ".join(map(repr, labels[:_MAX_NAMED])) + more
