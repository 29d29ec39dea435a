"""Albums: photos by number, none of them opened yet, wherever they lie.

Nothing here imports torch: a process that decodes starts in half the time without it, and takes a
third of the memory.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from convlens.data.photo_names import find_keys
from convlens.data.photos import EncodedPhoto
from convlens.errors import ConvlensError
from convlens.text import printable_path


@runtime_checkable
class PhotoDataset(Protocol):
    """Photo files in a fixed order, none of them opened yet; any process can be sent one."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, number: int) -> Path | EncodedPhoto:
        """One of them."""

    def name(self, number: int) -> str:
        """What a person calls it: its path, or its row in a table."""

    def fingerprints(self) -> list[str]:
        """A line for each photo, its name first, that changes when the photo does."""


class PhotoFiles:
    """An album of files."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        # One array: another process reads it where it lies, without unpacking a million paths.
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Path:
        return Path(os.fsdecode(self._paths[number]))

    def name(self, number: int) -> str:
        """The path, as `printable_path` writes it."""
        return printable_path(os.fsdecode(self._paths[number]))

    def fingerprints(self) -> list[str]:
        """Path, size and time of change of each file."""
        fingerprints = []
        for path in map(os.fsdecode, self._paths):
            try:
                found = Path(path).stat()
                fingerprints.append(f"{path} {found.st_size} {found.st_mtime_ns}")
            except OSError:
                fingerprints.append(f"{path} missing")
        return fingerprints


def as_dataset(photos: Sequence[str | Path] | PhotoDataset) -> PhotoDataset:
    """Files as an album; an album as it is."""
    return photos if isinstance(photos, PhotoDataset) else PhotoFiles(photos)


def check_photo_list(photos: object) -> None:
    """Raise ConvlensError for one path, or an array, where several photos are meant."""
    if isinstance(photos, (str, os.PathLike)):
        raise ConvlensError(f"photos are the one path {str(photos)!r}; give [{str(photos)!r}]")
    if isinstance(photos, np.ndarray):
        raise ConvlensError(
            "photos of type ndarray; give a list of paths, or torch.from_numpy(array) with images "
            "(N, C, H, W)"
        )


def find_dataset_keys(dataset: PhotoDataset, table: Mapping[str, Any]) -> list[str | None]:
    """The key of each photo in a table by paths or ends of paths, None where it has none.

    Raises:
        ConvlensError: a key that stands for two photos.
    """
    names = (dataset.name(number) for number in range(len(dataset)))
    return find_keys(names, table, repeated=isinstance(dataset, PhotoFiles))
