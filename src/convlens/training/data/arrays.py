"""NumPy archives: `.npz` files with images and labels."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convlens.errors import ConvlensError
from convlens.training.data.dataset import Images, as_images

_IMAGES = ("images", "x", "data", "pixels")
_CLASSES = ("labels", "y", "targets", "classes")
_TEST = ("test", "val", "validation")  # in this order, as the largest held-out part is the test's


def npz_parts(path: Path) -> dict[str, Images]:
    """The parts of a data set in an archive: `train`, and `test` where there is one.

    Arrays are called `images` and `labels` (or x and y, data and targets), with `train` and
    `test` or `val` before or after an underscore where there are parts: `x_train`,
    `test_labels`. Images are `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)`, with C of 1 or 3, in
    bytes or as floating-point numbers of 0..1. Nothing pickled is read.

    Raises:
        ConvlensError: names, shapes, types or values that are none of these.
    """
    arrays = _read(path)
    found: dict[str, Images] = {}
    for part in ("train", *_TEST, ""):
        images, classes = _pick(arrays, part, _IMAGES), _pick(arrays, part, _CLASSES)
        if images is None or classes is None:
            continue
        role = "test" if part in _TEST else "train"
        if role not in found:
            found[role] = as_images(
                _pixels(arrays[images], f"{path}, {images}"),
                _classes(arrays[classes], len(arrays[images]), f"{path}, {classes}"),
            )
    if "train" not in found:
        raise ConvlensError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; "
            f"call the arrays images and labels, or x_train, y_train, x_test and y_test"
        )
    return found


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason.lower():
            reason = "it holds Python objects, which are not read; save plain arrays"
        raise ConvlensError(f"{path} cannot be read as an .npz archive ({reason})") from error


def _pick(arrays: dict[str, NDArray[Any]], part: str, words: tuple[str, ...]) -> str | None:
    known = {name.casefold(): name for name in arrays}
    for word in words:
        for name in (f"{part}_{word}", f"{word}_{part}") if part else (word,):
            if name in known:
                return known[name]
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
