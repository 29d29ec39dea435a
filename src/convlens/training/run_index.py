"""The index of a run folder: `index.html` with the curves and some validation images."""

from pathlib import Path

from PIL import Image

from convlens.models.loading.run_folder import CURVES
from convlens.models.loading.run_photos import PHOTOS
from convlens.results.folder import write_overview
from convlens.results.index import IndexGroup, IndexPicture
from convlens.training.result import Training


def write_run_index(run: Path, training: Training) -> None:
    """Write `index.html` and `contact-sheet.png` of a run folder.

    Args:
        run: the folder, with the curves and the validation images in it.
        training: the result of the training.
    """
    photos = sorted((run / PHOTOS).glob("*.png"))
    curves = _picture(run, Path(CURVES), "loss and accuracy by epoch, and accuracy of each class")
    groups = [IndexGroup("", (curves,))]
    if photos:
        shown = tuple(_picture(run, path.relative_to(run), path.stem) for path in photos)
        groups.append(IndexGroup("validation images", shown, folder=PHOTOS))
    write_overview(run, training, groups, python='model = convlens.load(".")')


def _picture(run: Path, path: Path, caption: str) -> IndexPicture:
    with Image.open(run / path) as picture:
        return IndexPicture(path.as_posix(), *picture.size, caption=caption)
