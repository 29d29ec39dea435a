"""Labeled images in memory, parted into those to train on and those to validate on."""

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

_NAMED = 3  # classes that a note names


@dataclass(frozen=True, eq=False)
class Images:
    """Images and the class of each.

    Attributes:
        pixels: uint8 `(N, H, W, C)`.
        classes: int64 `(N,)`.
    """

    pixels: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Tensor) -> "Images":
        return Images(self.pixels[index], self.classes[index])


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a network is trained on.

    Attributes:
        name: what was given.
        train: images to train on.
        validation: images that are never trained on.
        labels: names of the classes by index.
        preprocessing: how a photo becomes an image of this kind.
        held_out: where the validation images come from, in words.
        skipped: files that were left out.
        notes: sentences that a user should read before the training.
    """

    name: str
    train: Images
    validation: Images
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    held_out: str
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
        for part in (self.train, self.validation):
            for tensor in (part.pixels, part.classes):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]


def part(images: Images, labels: Sequence[str], share: float, seed: int) -> tuple[Images, Images]:
    """Hold out a share of each class, at least one image of each that has two.

    Returns:
        What to train on, and what was held out; both in the order of `images`.

    Raises:
        ConvlensError: a share outside 0..1, or nothing left on one side.
    """
    if not 0 < share < 1:
        raise ConvlensError(f"a validation share of {share:g}; give more than 0 and less than 1")
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(images), dtype=torch.bool)
    for number in range(len(labels)):
        members = (images.classes == number).nonzero().flatten()
        count = min(max(1, round(share * len(members))), len(members) - 1)
        if count > 0:
            chosen = torch.randperm(len(members), generator=generator)[:count]
            held[members[chosen]] = True
    if not held.any():
        raise ConvlensError("no class has two images, so none can be held out for validation")
    return images[~held], images[held]


def check(images: Images, labels: Sequence[str], what: str) -> tuple[str, ...]:
    """Notes about images that training can use.

    Args:
        images: to be trained on.
        labels: of the classes.
        what: the data set, for the errors.

    Raises:
        ConvlensError: no images, fewer than two classes with images.
    """
    if len(images) == 0:
        raise ConvlensError(f"{what} holds no images; give a folder with one folder for each class")
    counts = torch.bincount(images.classes, minlength=len(labels)).tolist()
    there = [label for label, count in zip(labels, counts, strict=True) if count]
    if len(there) < 2:
        raise ConvlensError(
            f"all {len(images)} images of {what} are of one class, {there[0]!r}; "
            f"at least two are needed to tell them apart"
        )
    notes = []
    empty = [label for label, count in zip(labels, counts, strict=True) if count == 0]
    if empty:
        notes.append(f"no image of {_some(empty)}: never answered rightly")
    single = [label for label, count in zip(labels, counts, strict=True) if count == 1]
    if single:
        notes.append(f"one image only of {_some(single)}: trained on, but not validated")
    return tuple(notes)


def fitting(pixels: int, what: str) -> None:
    """Raise ConvlensError where so many bytes of pixels would not leave half the memory free."""
    free = available_memory()
    if free is not None and pixels > free / 2:
        raise ConvlensError(
            f"{what} takes {pixels / 2**30:.1f} GiB as pixels and {free / 2**30:.1f} GiB of memory "
            f"are free, half of which training needs; give a smaller --size or fewer images"
        )


def available_memory() -> int | None:
    """Bytes of main memory that could be taken now, or None where the system does not say."""
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


def as_images(pixels: NDArray[np.uint8], classes: NDArray[np.int64]) -> Images:
    """Arrays `(N, H, W)` or `(N, H, W, C)` and `(N,)` as images."""
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return Images(torch.from_numpy(pixels), torch.from_numpy(classes))


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMED} more classes" if len(labels) > _NAMED else ""
    return ", ".join(map(repr, labels[:_NAMED])) + more
