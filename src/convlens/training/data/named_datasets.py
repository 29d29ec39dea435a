"""Data sets by name: scikit-learn's digits and the classification data sets of torchvision."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError, suggest
from convlens.training.data.class_folders import choose_preprocessing
from convlens.training.data.dataset import check_pixels_fit_memory
from convlens.training.data.labeled_images import LabeledImages, make_labeled_images

ProgressCallback = Callable[[str, int, int], None]


def read_digits() -> tuple[LabeledImages, tuple[str, ...]]:
    """Read scikit-learn's 1,797 handwritten digits of 8 × 8 pixels.

    Returns:
        The images, and the names of the classes.

    Raises:
        ConvlensError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConvlensError(
            'the digits come with scikit-learn: pip install "convlens[train]", or give DATA'
        ) from error
    pixels, classes = load_digits(return_X_y=True)
    levels = np.rint(pixels.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    return make_labeled_images(levels, classes.astype(np.int64)), tuple(map(str, range(10)))


def read_torchvision(
    text: str, size: tuple[int, int] | None, progress: ProgressCallback
) -> tuple[dict[str, LabeledImages], tuple[str, ...], Preprocessing]:
    """Read a classification data set of torchvision; download it if necessary.

    Args:
        text: `NAME`, or `NAME@FOLDER` with the folder of its files; default: a folder beside
            torch hub's.
        size: height and width in pixels; default: as for a folder of photos.
        progress: called with the split, the number of images read and the total.

    Returns:
        Images and classes by split (`train`, and `test` if it exists); names of the classes; the
        preprocessing.

    Raises:
        ConvlensError: an unknown name, no labels, or files that cannot be downloaded.
    """
    from torchvision import datasets

    name, _, root = text.partition("@")
    dataset_names = {
        attribute.casefold(): attribute
        for attribute in datasets.__all__
        if isinstance(getattr(datasets, attribute), type)
        and issubclass(getattr(datasets, attribute), datasets.VisionDataset)
    }
    if name.casefold() not in dataset_names:
        raise ConvlensError(
            f"torchvision has no data set {name!r}{suggest(name, dataset_names.values())}; "
            f"CIFAR10, SVHN and FashionMNIST are some"
        )
    dataset_class = getattr(datasets, dataset_names[name.casefold()])
    folder = Path(root).expanduser() if root else Path(torch.hub.get_dir()).parent / "datasets"
    train = _open(dataset_class, folder, test=False)
    test = _open(dataset_class, folder, test=True)
    sets = {"train": train} if test is None else {"train": train, "test": test}
    preprocessing, mode = _inspect_photos(train, size)
    height, width = preprocessing.size
    check_pixels_fit_memory(
        sum(map(len, sets.values())) * height * width * len(mode),
        f"torchvision:{name}",
        "give a smaller --size, or a folder of photos, which are decoded as they are used",
    )

    def split_progress(split: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(f"{split} images", done, total)

    splits = {
        split: _read(images, preprocessing, mode, split_progress(split))
        for split, images in sets.items()
    }
    highest_class = max(int(images.classes.max()) for images in splits.values())
    names = tuple(map(str, getattr(train, "classes", ())))
    labels = names if len(names) > highest_class else tuple(map(str, range(highest_class + 1)))
    return splits, labels, preprocessing


def _open(dataset_class: Any, folder: Path, *, test: bool) -> Any:
    options = inspect.signature(dataset_class).parameters
    attempts: list[dict[str, Any]] = []
    if "train" in options:
        attempts = [{"train": not test}]
    elif "split" in options:
        attempts = [{"split": word} for word in (("test", "val") if test else ("train",))]
    elif not test:
        attempts = [{}]
    if not attempts:
        return None
    common_options: dict[str, Any] = {"root": folder} if "root" in options else {}
    if "download" in options:
        common_options["download"] = True
    for attempt in attempts:
        try:
            return dataset_class(**common_options, **attempt)
        except (TypeError, ValueError) as error:
            reason = error
        except (OSError, RuntimeError) as error:
            message = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConvlensError(
                f"{dataset_class.__name__} cannot be read or downloaded into {folder} ({message})"
            ) from error
    if test:
        return None
    raise ConvlensError(f"{dataset_class.__name__} cannot be opened by its name alone ({reason})")


def _inspect_photos(images: Any, size: tuple[int, int] | None) -> tuple[Preprocessing, str]:
    """Preprocessing and mode of the images, derived from the first of them."""
    pictures = [_item(images, index)[0] for index in range(min(32, len(images)))]
    sizes = {(picture.height, picture.width) for picture in pictures}
    common = next(iter(sizes)) if len(sizes) == 1 else None
    gray = all(picture.mode in ("1", "L") for picture in pictures)
    return choose_preprocessing(common, size), "L" if gray else "RGB"


def _read(
    images: Any, preprocessing: Preprocessing, mode: str, progress: Callable[[int, int], None]
) -> LabeledImages:
    height, width = preprocessing.size
    pixels = np.empty((len(images), height, width, len(mode)), np.uint8)
    classes = np.empty(len(images), np.int64)
    for index in range(len(images)):
        picture, classes[index] = _item(images, index)
        fitted = preprocessing.apply(picture.convert(mode))
        pixels[index] = np.asarray(fitted).reshape(height, width, len(mode))
        if index % 1000 == 999:
            progress(index + 1, len(images))
    return make_labeled_images(pixels, classes)


def _item(images: Any, index: int) -> tuple[Image.Image, int]:
    picture, label = images[index][:2]
    if not isinstance(picture, Image.Image) or not isinstance(label, (int, np.integer)):
        raise ConvlensError(
            f"{type(images).__name__} gives {type(label).__name__} for an image and not one class"
        )
    return picture, int(label)
