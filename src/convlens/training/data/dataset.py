"""Labeled images to train and to validate on: `Dataset`, and its validation split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from convlens.data.photos import SkippedPath
from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.runtime.memory import available_memory
from convlens.training.data.labeled_images import TrainingImages

_MAX_NAMED = 3  # classes listed in a note


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
    train: TrainingImages
    validation: TrainingImages
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    held_out: str
    validation_share: float | None = None
    skipped: tuple[SkippedPath, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.preprocessing.size

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for color."""
        return self.train.shape[2]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all pixels, classes and labels."""
        sizes = len(self.train), len(self.validation), *self.train.shape
        digest = hashlib.sha256(repr((self.labels, sizes)).encode())
        for images in (self.train, self.validation):
            for tensor in (images.digests, images.classes):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]


def split_validation(
    images: TrainingImages, labels: Sequence[str], share: float, seed: int
) -> tuple[TrainingImages, TrainingImages]:
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


def check_classes(images: TrainingImages, labels: Sequence[str], data_name: str) -> tuple[str, ...]:
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
        notes.append(f"no image of {_name_classes(empty)}: the network cannot learn to predict it")
    single = [label for label, count in zip(labels, counts, strict=True) if count == 1]
    if single:
        notes.append(f"one image only of {_name_classes(single)}: trained on, but not validated")
    return tuple(notes)


def check_pixels_fit_memory(size: int, data_name: str, advice: str) -> None:
    """Raise ConvlensError if the pixels need more than half of the free memory.

    Args:
        size: bytes of the pixels.
        data_name: name of the data set for the message.
        advice: what the user can do.
    """
    free = available_memory()
    if free is not None and size > free / 2:
        raise ConvlensError(
            f"{data_name} takes {size / 2**30:.1f} GiB as pixels and {free / 2**30:.1f} GiB of "
            f"memory are free, half of which training needs; {advice}"
        )


def _name_classes(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _MAX_NAMED} more classes" if len(labels) > _MAX_NAMED else ""
    return ", ".join(map(repr, labels[:_MAX_NAMED])) + more
