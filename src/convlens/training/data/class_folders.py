"""Photos in one folder for each class."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convlens.data.photo_decoder import PhotoDecoder
from convlens.data.photo_files import find_photos
from convlens.data.photos import SkippedPath
from convlens.data.preprocessing import Preprocessing
from convlens.data.training_data import no_class_folders
from convlens.errors import ConvlensError, PhotoError
from convlens.files import holds_results
from convlens.models.loading.specs import DESCRIPTION
from convlens.runtime.memory import available_memory
from convlens.training.data.dataset import check_pixels_fit_memory
from convlens.training.data.labeled_images import LabeledImages, TrainingImages
from convlens.training.data.streamed import measure_photos

ProgressCallback = Callable[[str, int, int], None]

DEFAULT_SIDE = 64  # pixels: smaller images keep their size, larger ones are shrunk to it
_TRAIN = ("train", "training")
_TEST = ("test", "val", "valid", "validation")
_GRAY_MODES = ("1", "L", "LA", "I", "I;16")


def read_class_folders(
    folder: Path,
    size: tuple[int, int] | None,
    progress: ProgressCallback,
    *,
    strict: bool,
    stream: bool | None = None,
) -> tuple[dict[str, TrainingImages], tuple[str, ...], Preprocessing, list[SkippedPath]]:
    """Read the photos of a folder that holds one folder for each class.

    The folder may hold `train` and `test` (or `val`) instead, each with such folders. Photos are
    decoded in parallel to 8-bit pixels: gray if all of them are gray, else RGB.

    Args:
        folder: holds the folders of the classes, or `train` and `test` that hold them.
        size: height and width in pixels; default: that of the photos if all have the same and it
            is at most 64, else 64.
        progress: called with "photos", the number decoded and the total.
        strict: raise for the first photo that cannot be read.
        stream: decode photos each time they are used; default: if their pixels would need more
            than half of the free memory.

    Returns:
        Images and classes by split (`train`, and `test` if it exists); names of the classes; the
        preprocessing; the photos and folders that were left out.

    Raises:
        ConvlensError: no folders of classes, no photos, or classes in `test` that are not in
            `train`; with `stream=False`, pixels that need more than half of the free memory.
    """
    roots = _split_folders(folder)
    labels = tuple(path.name for path in _subfolders(roots["train"]))
    left_out: list[SkippedPath] = []
    listed = {split: _list_photos(root, labels, left_out) for split, root in roots.items()}
    paths = [path for photos in listed.values() for path, _ in photos]
    if not paths:
        raise ConvlensError(f"no photos in the folders {', '.join(labels[:3])} of {folder}")
    mode, common = _inspect_photos(paths)
    preprocessing = choose_preprocessing(common, size)
    height, width = preprocessing.size
    needed = len(paths) * height * width * len(mode)
    if stream is None:
        free = available_memory()
        stream = free is not None and needed > free / 2
    if not stream:
        check_pixels_fit_memory(needed, str(folder), "give --stream, or a smaller --size")
    read_split = measure_photos if stream else _decode_photos
    decoder = PhotoDecoder(preprocessing, mode)
    splits: dict[str, TrainingImages] = {}
    num_decoded = 0

    def report_decoded(of_split: int, _: int) -> None:
        progress("photos", num_decoded + of_split, len(paths))

    for split, photos in listed.items():
        classes = torch.tensor([number for _, number in photos], dtype=torch.int64)
        splits[split], failed = read_split(
            [path for path, _ in photos], classes, decoder, report_decoded, strict=strict
        )
        left_out += [failed[index] for index in sorted(failed)]
        num_decoded += len(photos)
    return splits, labels, preprocessing, left_out


def choose_preprocessing(
    common: tuple[int, int] | None, size: tuple[int, int] | None
) -> Preprocessing:
    """Choose how photos are resized and cropped.

    Args:
        common: height and width of all photos in pixels, or None if they differ.
        size: height and width that the user asked for, or None.

    Returns:
        No resizing if the photos have the size already, else resizing and a center crop.
    """
    if common is not None and (size == common or (size is None and max(common) <= DEFAULT_SIDE)):
        return Preprocessing(size=common, resize=None)
    height, width = size or (DEFAULT_SIDE, DEFAULT_SIDE)
    return Preprocessing(size=(height, width), resize=max(height, width))


def _split_folders(folder: Path) -> dict[str, Path]:
    inside = {path.name.casefold(): path for path in _subfolders(folder)}
    train = next((inside[name] for name in _TRAIN if name in inside), None)
    # A class may be named train: a split holds folders of classes, and only splits lie beside it.
    if train is not None and not (inside.keys() <= {*_TRAIN, *_TEST} and _subfolders(train)):
        train = None
    if train is None:
        if not inside:
            raise no_class_folders(folder)
        return {"train": folder}
    test = next((inside[name] for name in _TEST if name in inside), None)
    splits = {"train": train} if test is None else {"train": train, "test": test}
    if test is not None:
        class_names = {path.name for path in _subfolders(train)}
        unknown = [path.name for path in _subfolders(test) if path.name not in class_names]
        if unknown:
            raise ConvlensError(
                f"{test} holds the class {unknown[0]!r}, and {train} has no folder of that name"
            )
    return splits


def _subfolders(folder: Path) -> list[Path]:
    """The visible folders in a folder; results of convlens and training runs are no classes."""
    return sorted(path for path in _visible_folders(folder) if not _is_output(path))


def _visible_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _is_output(folder: Path) -> bool:
    return holds_results(folder) or (folder / DESCRIPTION).is_file()


def _list_photos(
    root: Path, labels: Sequence[str], left_out: list[SkippedPath]
) -> list[tuple[Path, int]]:
    """The photos of each class with its number; what is left out of the folders is added."""
    photos = []
    left_out += [
        SkippedPath(path, f"{path} holds results of convlens, and is no class")
        for path in sorted(filter(_is_output, _visible_folders(root)))
    ]
    for number, label in enumerate(labels):
        folder = root / label
        if not folder.is_dir():
            continue
        sentences: list[str] = []
        try:
            photos += [(path, number) for path in find_photos([folder], notify=sentences.append)]
        except ConvlensError:  # an empty class: `check_classes` warns about it
            continue
        left_out += [SkippedPath(folder, sentence) for sentence in sentences]
    return photos


def _inspect_photos(paths: Sequence[Path]) -> tuple[str, tuple[int, int] | None]:
    """The mode that all photos can be converted to, and their common height and width if any."""
    modes, sizes = set(), set()
    for path in paths:
        try:
            with Image.open(path) as picture:
                modes.add(picture.mode)
                sizes.add((picture.height, picture.width))
        except Exception:
            continue
    gray = bool(modes) and modes <= set(_GRAY_MODES)
    return "L" if gray else "RGB", next(iter(sizes)) if len(sizes) == 1 else None


def _decode_photos(
    paths: Sequence[Path],
    classes: Tensor,
    decoder: PhotoDecoder,
    progress: Callable[[int, int], None],
    *,
    strict: bool,
) -> tuple[LabeledImages, dict[int, SkippedPath]]:
    """The photos that can be read, in memory, and those that cannot by their number."""
    height, width = decoder.preprocessing.size
    pixels = np.zeros((len(paths), height, width, len(decoder.mode)), np.uint8)
    failed: dict[int, SkippedPath] = {}

    def decode(index: int) -> None:
        try:
            pixels[index] = decoder(paths[index])
        except PhotoError as error:
            if strict:
                raise
            failed[index] = SkippedPath(paths[index], str(error))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the GIL while it decodes
        for done, _ in enumerate(pool.map(decode, range(len(paths))), start=1):
            progress(done, len(paths))
    readable = [index for index in range(len(paths)) if index not in failed]
    return LabeledImages(torch.from_numpy(pixels[readable]), classes[readable]), failed
