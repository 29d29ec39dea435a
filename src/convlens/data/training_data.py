"""The text that names labeled images to train on: its forms, checked without torch."""

from enum import StrEnum
from pathlib import Path

from convlens.errors import ConvlensError, suggest
from convlens.files import suggest_sibling

DIGITS = "digits"
TORCHVISION = "torchvision:"  # before the name of the data set


class DataForm(StrEnum):
    """The forms of labeled images."""

    DIGITS = "digits"
    TORCHVISION = "torchvision"
    FOLDER = "folder"
    ARCHIVE = "archive"


def find_data_form(spec: str | Path) -> DataForm:
    """Which form of labeled images a text or path names.

    Args:
        spec: as `convlens.open_data` takes it.

    Raises:
        ConvlensError: it is no name, and no folder or `.npz` file.

    Example:
        >>> find_data_form("torchvision:CIFAR10").value
        'torchvision'
    """
    name, path = str(spec), Path(spec).expanduser()
    if name == DIGITS:
        return DataForm.DIGITS
    if name.startswith(TORCHVISION):
        return DataForm.TORCHVISION
    if path.is_dir():
        return DataForm.FOLDER
    if path.suffix == ".npz" and path.is_file():
        return DataForm.ARCHIVE
    nearest = suggest(name, (DIGITS,)) or suggest_sibling(path)
    raise ConvlensError(
        f"no data {name!r}{nearest}; give digits, torchvision:NAME, a folder with one folder for "
        f"each class, a folder with IDX files, or an .npz file"
    )


def check_data(spec: str) -> None:
    """Raise ConvlensError for data that does not exist, or a folder with nothing but photos."""
    if find_data_form(spec) is not DataForm.FOLDER:
        return
    folder = Path(spec).expanduser()
    if not any(path.is_dir() or "-ubyte" in path.name for path in folder.iterdir()):
        raise no_class_folders(folder)


def no_class_folders(folder: Path) -> ConvlensError:
    """The error of a folder of training data without a folder for each class."""
    return ConvlensError(
        f"{folder} holds no folders; make one for each class and put its photos there"
    )
