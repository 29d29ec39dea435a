"""A folder with one folder of photos for each class."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from convlens.data.photo_files import find_photos
from convlens.data.photos import SkippedPhoto, read_photo
from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError, PhotoError
from convlens.training.data.dataset import Images, fitting

Tell = Callable[[str, int, int], None]

SMALL = 64  # pixels: images up to here are taken as they are, larger ones shrunk to it
_TRAIN = ("train", "training")
_TEST = ("test", "val", "valid", "validation")
_GREY = ("1", "L", "LA", "I", "I;16")


def folder_parts(
    folder: Path, size: tuple[int, int] | None, progress: Tell, *, strict: bool
) -> tuple[dict[str, Images], tuple[str, ...], Preprocessing, list[SkippedPhoto]]:
    """The photos below a folder, each of the class that its folder is named after.

    A folder `train` with `test` or `val` beside it gives both parts. Photos are decoded once, in
    parallel, and kept as 8-bit pixels: gray where all of them are, else RGB.

    Args:
        folder: holds the folders of the classes, or `train` and `test` that hold them.
        size: height and width in pixels; default: that of the photos where all have the same and
            it is at most 64, else 64.
        progress: told of the photos decoded.
        strict: raise for the first photo that cannot be read.

    Returns:
        `train`, and `test` where it is there; the classes' names; how photos become images; the
        photos that were left out.

    Raises:
        ConvlensError: no folders of classes, no photos, or classes to test that are not trained.
    """
    roots = _parts(folder)
    labels = tuple(path.name for path in _subfolders(roots["train"]))
    listed = {part: _list(root, labels) for part, root in roots.items()}
    paths = [path for photos in listed.values() for path, _ in photos]
    if not paths:
        raise ConvlensError(f"no photos in the folders {', '.join(labels[:3])} of {folder}")
    mode, common = _look(paths)
    preprocessing = preprocessing_for(common, size)
    height, width = preprocessing.size
    fitting(len(paths) * height * width * len(mode), str(folder))

    def told(done: int, total: int) -> None:
        progress("photos", done, total)

    pixels, failed = _decode(paths, preprocessing, mode, told, strict=strict)
    found, start = {}, 0
    for part, photos in listed.items():
        stop = start + len(photos)
        kept = [index for index in range(start, stop) if index not in failed]
        classes = [photos[index - start][1] for index in kept]
        found[part] = Images(
            torch.from_numpy(pixels[kept]), torch.tensor(classes, dtype=torch.int64)
        )
        start = stop
    return found, labels, preprocessing, [failed[index] for index in sorted(failed)]


def preprocessing_for(
    common: tuple[int, int] | None, size: tuple[int, int] | None
) -> Preprocessing:
    """Photos to images.

    Args:
        common: height and width of all photos, or None where they differ.
        size: what the user asked for.
    """
    if common is not None and (size == common or (size is None and max(common) <= SMALL)):
        return Preprocessing(size=common, resize=None)
    height, width = size or (SMALL, SMALL)
    return Preprocessing(size=(height, width), resize=max(height, width))


def _parts(folder: Path) -> dict[str, Path]:
    inside = {path.name.casefold(): path for path in _subfolders(folder)}
    train = next((inside[name] for name in _TRAIN if name in inside), None)
    # A class may be called train: parts have classes in them, and nothing but parts beside them.
    if train is not None and not (inside.keys() <= {*_TRAIN, *_TEST} and _subfolders(train)):
        train = None
    if train is None:
        if not inside:
            raise ConvlensError(
                f"{folder} holds no folders; make one for each class and put its photos there"
            )
        return {"train": folder}
    test = next((inside[name] for name in _TEST if name in inside), None)
    parts = {"train": train} if test is None else {"train": train, "test": test}
    if test is not None:
        known = {path.name for path in _subfolders(train)}
        unknown = [path.name for path in _subfolders(test) if path.name not in known]
        if unknown:
            raise ConvlensError(
                f"{test} holds the class {unknown[0]!r}, and {train} has no folder of that name"
            )
    return parts


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _list(root: Path, labels: Sequence[str]) -> list[tuple[Path, int]]:
    photos = []
    for number, label in enumerate(labels):
        if not (root / label).is_dir():
            continue
        try:
            photos += [(path, number) for path in find_photos([root / label])]
        except ConvlensError:  # none in it: said by the counts of the classes
            continue
    return photos


def _look(paths: Sequence[Path]) -> tuple[str, tuple[int, int] | None]:
    """The mode that holds all photos, and their common height and width, from their headers."""
    modes, sizes = set(), set()
    for path in paths:
        try:
            with Image.open(path) as picture:
                modes.add(picture.mode)
                sizes.add((picture.height, picture.width))
        except Exception:
            continue
    gray = bool(modes) and modes <= set(_GREY)
    return "L" if gray else "RGB", next(iter(sizes)) if len(sizes) == 1 else None


def _decode(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    mode: str,
    progress: Callable[[int, int], None],
    *,
    strict: bool,
) -> tuple[np.ndarray, dict[int, SkippedPhoto]]:
    height, width = preprocessing.size
    pixels = np.zeros((len(paths), height, width, len(mode)), np.uint8)
    failed: dict[int, SkippedPhoto] = {}

    def one(index: int) -> None:
        try:
            picture = preprocessing.apply(read_photo(paths[index]).picture.convert(mode))
        except PhotoError as error:
            if strict:
                raise
            failed[index] = SkippedPhoto(paths[index], str(error))
            return
        pixels[index] = np.asarray(picture).reshape(height, width, len(mode))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without Python's lock
        for done, _ in enumerate(pool.map(one, range(len(paths))), start=1):
            progress(done, len(paths))
    return pixels, failed
