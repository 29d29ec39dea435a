"""NumPy archives (`.npz`) with images and labels."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convlens.errors import ConvlensError
from convlens.training.data.labeled_images import LabeledImages, make_labeled_images

_IMAGE_NAMES = ("images", "x", "data", "pixels")
_CLASS_NAMES = ("labels", "y", "targets", "classes")
_TEST_NAMES = (
    "test",
    "val",
    "validation",
)  # in this order: the test part is usually the largest of these


def read_npz(path: Path) -> dict[str, LabeledImages]:
    """Read the splits of a data set from an archive: `train`, and `test` if it has one.

    The arrays have the names `images` and `labels` (or `x` and `y`, `data` and `targets`). Splits
    are marked by `train`, `test` or `val` before or after an underscore: `x_train`,
    `test_labels`. Images have the shape `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)` with C of 1
    or 3, as bytes or as floating-point numbers of 0 to 1. Pickled objects are not read.

    Args:
        path: the archive.

    Returns:
        Images and classes by split.

    Raises:
        ConvlensError: the archive cannot be read, or its names, shapes, types or values are
            different.
    """
    arrays = _read(path)
    splits: dict[str, LabeledImages] = {}
    for split in ("train", *_TEST_NAMES, ""):
        images, classes = (
            _find_array(arrays, split, _IMAGE_NAMES),
            _find_array(arrays, split, _CLASS_NAMES),
        )
        if images is None or classes is None:
            continue
        role = "test" if split in _TEST_NAMES else "train"
        if role not in splits:
            splits[role] = make_labeled_images(
                _pixels(arrays[images], f"{path}, {images}"),
                _classes(arrays[classes], len(arrays[images]), f"{path}, {classes}"),
            )
    if "train" not in splits:
        raise ConvlensError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; "
            f"call the arrays images and labels, or x_train, y_train, x_test and y_test"
        )
    return splits


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason.lower():
            reason = "it holds Python objects, which are not read; save plain arrays"
        raise ConvlensError(f"{path} cannot be read as an .npz archive ({reason})") from error


def _find_array(arrays: dict[str, NDArray[Any]], split: str, words: tuple[str, ...]) -> str | None:
    names = {name.casefold(): name for name in arrays}
    for word in words:
        for name in (f"{split}_{word}", f"{word}_{split}") if split else (word,):
            if name in names:
                return names[name]
    return None


def _pixels(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise ConvlensError(
            f"{where} has shape {array.shape}; (N, H, W), (N, H, W, C) or (N, C, H, W) with C of "
            f"1 or 3 is needed"
        )
    if 0 in array.shape:
        raise ConvlensError(f"{where} has shape {array.shape} and so holds no images")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    low, high = float(array.min()), float(array.max())
    if np.issubdtype(array.dtype, np.floating) and low >= 0 and high <= 1:
        return np.rint(array * 255).astype(np.uint8)
    if low >= 0 and high <= 255 and bool((array == np.rint(array)).all()):
        return array.astype(np.uint8)
    raise ConvlensError(
        f"{where} holds {array.dtype} values of {low:g} to {high:g}; "
        f"give bytes, or floating-point numbers of 0 to 1"
    )


def _classes(array: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise ConvlensError(
            f"{where} has shape {array.shape} for {count} images; one class for each is needed"
        )
    floating = np.issubdtype(array.dtype, np.floating)
    if not np.issubdtype(array.dtype, np.integer) and not (
        floating and bool((array == np.rint(array)).all())
    ):
        raise ConvlensError(f"{where} holds {array.dtype}; whole numbers from 0 are needed")
    if array.min() < 0:
        raise ConvlensError(f"{where} holds the class {array.min():g}; classes count from 0")
    return array.astype(np.int64)
