"""Data sets by name: scikit-learn's digits, which pip brings, and those of torchvision."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError, suggest
from convlens.training.data.dataset import Images, as_images, fitting
from convlens.training.data.folder import preprocessing_for

Tell = Callable[[str, int, int], None]


def digits() -> tuple[Images, tuple[str, ...]]:
    """1,797 handwritten digits of 8 × 8 pixels, and their names.

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
    return as_images(levels, classes.astype(np.int64)), tuple(map(str, range(10)))


def torchvision_parts(
    text: str, size: tuple[int, int] | None, progress: Tell
) -> tuple[dict[str, Images], tuple[str, ...], Preprocessing]:
    """A classification data set of torchvision, downloaded if it is not there.

    Args:
        text: `NAME`, or `NAME@FOLDER` where its files lie or are put; default: beside torch hub's.
        size: height and width in pixels; default as for a folder of photos.
        progress: told of the images read.

    Returns:
        `train`, and `test` where there is one; the classes' names; how photos become images.

    Raises:
        ConvlensError: an unknown name, no labels, or files that cannot be downloaded.
    """
    from torchvision import datasets

    name, _, root = text.partition("@")
    known = {
        one.casefold(): one
        for one in datasets.__all__
        if isinstance(getattr(datasets, one), type)
        and issubclass(getattr(datasets, one), datasets.VisionDataset)
    }
    if name.casefold() not in known:
        raise ConvlensError(
            f"torchvision has no data set {name!r}{suggest(name, known.values())}; "
            f"CIFAR10, SVHN and FashionMNIST are some"
        )
    kind = getattr(datasets, known[name.casefold()])
    folder = Path(root).expanduser() if root else Path(torch.hub.get_dir()).parent / "datasets"
    train = _open(kind, folder, test=False)
    test = _open(kind, folder, test=True)
    sets = {"train": train} if test is None else {"train": train, "test": test}
    preprocessing, mode = _look(train, size)
    height, width = preprocessing.size
    fitting(sum(map(len, sets.values())) * height * width * len(mode), f"torchvision:{name}")

    def told(part: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(f"{part} images", done, total)

    parts = {part: _read(one, preprocessing, mode, told(part)) for part, one in sets.items()}
    most = max(int(images.classes.max()) for images in parts.values())
    names = tuple(map(str, getattr(train, "classes", ())))
    labels = names if len(names) > most else tuple(map(str, range(most + 1)))
    return parts, labels, preprocessing


def _open(kind: Any, folder: Path, *, test: bool) -> Any:
    options = inspect.signature(kind).parameters
    attempts: list[dict[str, Any]] = []
    if "train" in options:
        attempts = [{"train": not test}]
    elif "split" in options:
        attempts = [{"split": word} for word in (("test", "val") if test else ("train",))]
    elif not test:
        attempts = [{}]
    if not attempts:
        return None
    extra: dict[str, Any] = {"root": folder} if "root" in options else {}
    if "download" in options:
        extra["download"] = True
    for attempt in attempts:
        try:
            return kind(**extra, **attempt)
        except (TypeError, ValueError) as error:
            reason = error
        except (OSError, RuntimeError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConvlensError(
                f"{kind.__name__} cannot be read or downloaded into {folder} ({said})"
            ) from error
    if test:
        return None
    raise ConvlensError(f"{kind.__name__} cannot be opened by its name alone ({reason})")


def _look(images: Any, size: tuple[int, int] | None) -> tuple[Preprocessing, str]:
    """How the images are brought to one size, and their mode, judged by the first few."""
    pictures = [_item(images, index)[0] for index in range(min(32, len(images)))]
    sizes = {(picture.height, picture.width) for picture in pictures}
    common = next(iter(sizes)) if len(sizes) == 1 else None
    gray = all(picture.mode in ("1", "L") for picture in pictures)
    return preprocessing_for(common, size), "L" if gray else "RGB"


def _read(
    images: Any, preprocessing: Preprocessing, mode: str, progress: Callable[[int, int], None]
) -> Images:
    height, width = preprocessing.size
    pixels = np.empty((len(images), height, width, len(mode)), np.uint8)
    classes = np.empty(len(images), np.int64)
    for index in range(len(images)):
        picture, classes[index] = _item(images, index)
        fitted = preprocessing.apply(picture.convert(mode))
        pixels[index] = np.asarray(fitted).reshape(height, width, len(mode))
        if index % 1000 == 999:
            progress(index + 1, len(images))
    return as_images(pixels, classes)


def _item(images: Any, index: int) -> tuple[Image.Image, int]:
    picture, answer = images[index][:2]
    if not isinstance(picture, Image.Image) or not isinstance(answer, (int, np.integer)):
        raise ConvlensError(
            f"{type(images).__name__} gives {type(answer).__name__} for an image and not one class"
        )
    return picture, int(answer)
