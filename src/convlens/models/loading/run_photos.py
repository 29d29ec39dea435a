"""The photos in a run folder: validation images with their labels, for a page about the run."""

from collections.abc import Sequence
from pathlib import Path

from convlens.models.label_tables import read_labeled_photos, read_labels

PHOTOS = "photos"  # folder in the run folder
LABELS = "labels.csv"  # in that folder


def find_run_photos(run: Path) -> list[Path]:
    """Paths of the photos that a training left in its run folder; none in another folder.

    Args:
        run: the run folder.
    """
    table = run / PHOTOS / LABELS
    return [run / PHOTOS / name for name in read_labeled_photos(table)] if table.is_file() else []


def read_run_labels(run: Path, labels: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Labels of the photos that a training left in its run folder, by the name of the file.

    Args:
        run: the run folder, with such photos.
        labels: names of the classes by index.

    Raises:
        ConvlensError: a damaged table of labels.
    """
    return read_labels(run / PHOTOS / LABELS, labels, len(labels or ()))
