"""Labels of photos that lie in folders named after their classes."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.models.labels import matching_classes

if TYPE_CHECKING:  # it imports torch
    from convlens.models.model import Model

_WORDNET_NUMBER = re.compile(r"n\d{8}")
_IMAGENET_CLASSES = 1000
_FIRST, _LAST = "tench", "toilet tissue"  # of ImageNet's classes, as all label lists write them


def folder_labels(photos: Iterable[str | Path], model: "Model") -> list[tuple[int, ...] | None]:
    """The right classes of photos by the names of the folders that hold them.

    Args:
        photos: paths of the photos.
        model: the model whose class names are compared with the names of the folders, in any case
            and with `_` or `-` for a space. Synonyms count. For ImageNet's classes, a WordNet
            number such as n02123045 is a name too.

    Returns:
        The index of the class for each photo; None where the folder has the name of no class or of
        several classes.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
        >>> model = convlens.wrap(network, size=8, labels=["tabby, tabby cat", "tiger cat"])
        >>> convlens.folder_labels(["pets/Tiger_cat/1.jpg", "pets/dog/2.jpg"], model)
        [(1,), None]
    """
    labels = tuple(model.labels or ())
    numbers = _wordnet_numbers() if _are_imagenet(labels) else {}

    @cache  # a folder holds many photos
    def find(folder: str) -> tuple[int, ...] | None:
        return (numbers[folder],) if folder in numbers else _find_class(labels, folder)

    return [find(Path(photo).parent.name) for photo in photos]


def may_have_folder_labels(photos: Iterable[str | Path], labels: Sequence[str]) -> bool:
    """Whether `folder_labels` may find a class for any photo. It needs no model, and no torch.

    Args:
        photos: paths of the photos.
        labels: the class names of the model, empty if it has none.

    Returns:
        True also for a folder that is named by a WordNet number, which may be one of the model's.

    Example:
        >>> may_have_folder_labels(["pets/tabby/1.jpg", "pets/dog/2.jpg"], ["tabby", "beagle"])
        True
    """
    folders = {Path(photo).parent.name for photo in photos}
    return any(
        _WORDNET_NUMBER.fullmatch(folder) or _find_class(labels, folder) for folder in folders
    )


def _find_class(labels: Sequence[str], folder: str) -> tuple[int, ...] | None:
    """The index of the one class with the name of a folder."""
    for name in dict.fromkeys((folder, folder.replace("_", " "), folder.replace("-", " "))):
        classes = matching_classes(labels, name)
        if len(classes) == 1:
            return tuple(classes)
    return None


def _are_imagenet(labels: Sequence[str]) -> bool:
    """Whether class names are those of ImageNet's 1000 classes in their usual order."""
    return (
        len(labels) == _IMAGENET_CLASSES
        and labels[0].startswith(_FIRST)
        and labels[-1].startswith(_LAST)
    )


@cache
def _wordnet_numbers() -> dict[str, int]:
    """Index of each of ImageNet's classes by its WordNet number."""
    from timm.data import ImageNetInfo

    return {number: index for index, number in enumerate(ImageNetInfo().label_names())}
