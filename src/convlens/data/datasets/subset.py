"""Some of the photos of a data set, as a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.data.photos import EncodedPhoto


@dataclass(frozen=True)
class PhotoSubset:
    """Some of the photos of a data set.

    Attributes:
        dataset: the data set.
        numbers: the numbers of these photos in it, in the order of the subset.

    Example:
        >>> from convlens.data.datasets.photo_dataset import PhotoFiles
        >>> some = PhotoSubset(PhotoFiles(["ant.jpg", "bee.jpg", "cat.jpg"]), (2, 0))
        >>> len(some), some.name(0)
        (2, 'cat.jpg')
    """

    dataset: PhotoDataset
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Path | EncodedPhoto:
        return self.dataset[self.numbers[index]]

    def name(self, index: int) -> str:
        """The name of the photo in the data set."""
        return self.dataset.name(self.numbers[index])

    def fingerprints(self) -> list[str]:
        """The lines of these photos among those of the data set."""
        lines = self.dataset.fingerprints()
        return [lines[number] for number in self.numbers]
