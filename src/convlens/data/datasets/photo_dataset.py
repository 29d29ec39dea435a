"""PhotoDataset: photos by index, which are opened only when they are needed.

Nothing here imports torch: a process that only decodes photos starts in half the time without it
and takes a third of the memory.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from convlens.data.photo_names import find_keys
from convlens.data.photos import EncodedPhoto
from convlens.text import printable


@runtime_checkable
class PhotoDataset(Protocol):
    """Photos in a fixed order, none of them opened yet; it can be sent to any process."""

    def __len__(self) -> int:
        """Number of photos."""

    def __getitem__(self, index: int) -> Path | EncodedPhoto:
        """The photo at an index: its file, or the content of its file."""

    def name(self, index: int) -> str:
        """Name of the photo for people: its path, or its row in a table."""

    def fingerprints(self) -> list[str]:
        """One line for each photo that starts with its name and changes when the photo changes."""


class PhotoFiles:
    """A photo data set of image files.

    Example:
        >>> len(PhotoFiles(["cat.jpg", "dog.jpg"]))
        2
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        """Keep the paths; no file is opened.

        Args:
            paths: paths of the photos, in the order of the data set.
        """
        # One array: another process reads it from shared memory, without a million Python objects.
        self._paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Path:
        return Path(os.fsdecode(self._paths[index]))

    def name(self, index: int) -> str:
        """The path, as `printable` writes it."""
        return printable(os.fsdecode(self._paths[index]))

    def fingerprints(self) -> list[str]:
        """Path, size and modification time of each file, on one line."""
        lines = []
        for path in map(os.fsdecode, self._paths):
            try:
                status = Path(path).stat()
                lines.append(f"{printable(path)} {status.st_size} {status.st_mtime_ns}")
            except OSError:
                lines.append(f"{printable(path)} missing")
        return lines


def as_dataset(photos: Sequence[str | Path] | PhotoDataset) -> PhotoDataset:
    """Paths as a photo data set; a photo data set as it is."""
    return photos if isinstance(photos, PhotoDataset) else PhotoFiles(photos)


def find_dataset_keys(dataset: PhotoDataset, table: Mapping[str, Any]) -> list[str | None]:
    """The key of a table that names each photo of a data set.

    Args:
        dataset: the photos.
        table: table with keys from `convlens.data.photo_names.table_key`.

    Returns:
        One key for each photo, None where the table has none.

    Raises:
        ConvlensError: a key that names two photos.
    """
    is_files = isinstance(dataset, PhotoFiles)  # their names are escaped, their paths are not
    names = (
        str(dataset[index]) if is_files else dataset.name(index) for index in range(len(dataset))
    )
    return find_keys(names, table, repeated=is_files)
