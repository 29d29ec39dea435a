"""Labeled images to train on, from folders, IDX files, NumPy archives or a name: `open_data`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from convlens.data.photos import SkippedPath
from convlens.data.preprocessing import Preprocessing
from convlens.data.training_data import DataForm, find_data_form
from convlens.errors import ConvlensError
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.default_device import check_default_device
from convlens.training.data.class_folders import read_class_folders
from convlens.training.data.dataset import Dataset, check_classes, split_validation
from convlens.training.data.idx import read_idx_folder
from convlens.training.data.labeled_images import LabeledImages, TrainingImages
from convlens.training.data.named_datasets import read_digits, read_torchvision
from convlens.training.data.npz import read_npz
from convlens.wording import percent

__all__ = ["Dataset", "LabeledImages", "TrainingImages", "open_data"]

_CLASS_NAME_FILES = (
    "classes.txt",
    "labels.txt",
)  # beside IDX files and archives


@dataclass(frozen=True)
class _Contents:
    """What a form of data holds.

    Attributes:
        splits: the images of `train`, and of `test` if there is one.
        labels: names of the classes by index; None if the data does not state them.
        preprocessing: how a photo becomes an image; None for images that are arrays.
        skipped: files that were left out.
    """

    splits: Mapping[str, TrainingImages]
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    skipped: Sequence[SkippedPath] = ()


def open_data(
    spec: str | Path = "digits",
    *,
    size: int | tuple[int, int] | None = None,
    validation: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    stream: bool | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Dataset:
    """Read labeled images, as 8-bit pixels.

    Photos in folders whose pixels would need more than half of the free memory are decoded each
    time they are used; other data is held in memory. The images are the same either way.

    Args:
        spec: the data, in one of these forms (default: `digits`):

            - `digits`: scikit-learn's 1,797 digits of 8 × 8 pixels;
            - `torchvision:NAME[@FOLDER]`: a data set of torchvision, downloaded if necessary;
            - a folder with IDX files (`train-images-idx3-ubyte` etc., gzipped or not);
            - a folder with one folder of photos for each class, or `train` and `test` (or `val`)
              with such folders;
            - a `.npz` file with `images` and `labels`, or `x_train`, `y_train`, `x_test`,
              `y_test`.

            A file `classes.txt` beside IDX files and archives names their classes, one name on
            each line.
        size: height and width in pixels to which photos are resized and cropped; default: that of
            the photos if all have the same and it is at most 64, else 64.
        validation: share of each class to hold out if the data has no test or validation part;
            default 0.1.
        seed: seed of the choice of these images; default 0.
        strict: raise for a damaged photo instead of leaving it out; default: leave it out.
        stream: whether photos in folders are decoded each time they are used; default: only if
            their pixels would need more than half of the free memory.
        progress: called with a stage, the number done and the total; default: not called.

    Returns:
        Training images, validation images, names of the classes and the preprocessing.

    Raises:
        ConvlensError: data that does not exist or is empty, fewer than two classes, labels that do
            not fit, damaged files, pixels that would need more than half of the free memory and
            cannot be streamed, or a default device of torch other than the CPU.

    Example:
        >>> import convlens
        >>> data = convlens.open_data("digits")
        >>> data.size, len(data.labels), len(data.train), len(data.validation)
        ((8, 8), 10, 1618, 179)
    """
    check_default_device()
    if isinstance(size, int):
        size = (size, size)
    name, path = str(spec), Path(spec).expanduser()
    contents = _read_contents(spec, size, or_ignore(progress), strict=strict, stream=stream)
    splits = contents.splits
    if stream and any(isinstance(images, LabeledImages) for images in splits.values()):
        raise ConvlensError(
            f"{name} is held in memory, and only photos in folders are decoded as they are used; "
            f"leave --stream out"
        )
    preprocessing = contents.preprocessing or _array_preprocessing(splits, size, name)
    folder = path if path.is_dir() else path.parent
    labels = contents.labels or _read_class_names(folder, splits)
    notes = check_classes(splits["train"], labels, name)
    if "test" in splits:
        train, validation_images = splits["train"], splits["test"]
        held_out = "the data's own test images"
    else:
        train, validation_images = split_validation(splits["train"], labels, validation, seed)
        held_out = f"{percent(validation)} of each class, held out (seed {seed})"
    if len(validation_images) == 0:
        raise ConvlensError(f"{name} holds no images to validate on")
    return Dataset(
        name=name,
        train=train,
        validation=validation_images,
        labels=labels,
        preprocessing=preprocessing,
        held_out=held_out,
        validation_share=None if "test" in splits else validation,
        skipped=tuple(contents.skipped),
        notes=notes,
    )


def _read_contents(
    spec: str | Path,
    size: tuple[int, int] | None,
    progress: Callable[[str, int, int], None],
    *,
    strict: bool,
    stream: bool | None,
) -> _Contents:
    """Read the images by the form of their data."""
    path, form = Path(spec).expanduser(), find_data_form(spec)
    if form is DataForm.DIGITS:
        images, labels = read_digits()
        return _Contents({"train": images}, labels)
    if form is DataForm.TORCHVISION:
        return _Contents(*read_torchvision(str(spec).partition(":")[2], size, progress))
    if form is DataForm.FOLDER:
        if splits := read_idx_folder(path):
            return _Contents(splits)
        return _Contents(*read_class_folders(path, size, progress, strict=strict, stream=stream))
    return _Contents(read_npz(path))


def _array_preprocessing(
    splits: Mapping[str, TrainingImages], size: tuple[int, int] | None, name: str
) -> Preprocessing:
    shapes = {images.shape for images in splits.values()}
    if len(shapes) > 1:
        raise ConvlensError(
            f"{name} holds images of shapes {sorted(shapes)}; give images of one shape"
        )
    ((height, width, _),) = shapes
    if size is not None and size != (height, width):
        raise ConvlensError(
            f"{name} holds images of {height} x {width} pixels, which are not resized; "
            f"leave --size out"
        )
    return Preprocessing(size=(height, width), resize=None)


def _read_class_names(folder: Path, splits: Mapping[str, TrainingImages]) -> tuple[str, ...]:
    """Names of the classes from the file beside the data, or else their numbers."""
    highest_class = max(int(images.classes.max()) for images in splits.values() if len(images))
    path = next((folder / name for name in _CLASS_NAME_FILES if (folder / name).is_file()), None)
    if path is None:
        trained = splits["train"].classes
        if highest_class >= 10 * max(1, len(torch.unique(trained))):
            raise ConvlensError(
                f"the labels go up to {highest_class} for {len(torch.unique(trained))} different "
                f"classes; number the classes from 0"
            )
        return tuple(map(str, range(highest_class + 1)))
    try:
        names = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConvlensError(f"cannot read {path} ({error}); give one name a line") from error
    if highest_class >= len(names):
        raise ConvlensError(
            f"{path} names {len(names)} classes and the labels go up to {highest_class}; "
            f"name them all"
        )
    return names
