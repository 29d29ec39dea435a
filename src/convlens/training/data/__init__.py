"""Labeled images to train on: folders, IDX files, NumPy archives, data sets by name."""

from collections.abc import Callable
from pathlib import Path

import torch

from convlens.data.photos import SkippedPhoto
from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.training.data.arrays import npz_parts
from convlens.training.data.dataset import Dataset, Images, check, part
from convlens.training.data.folder import folder_parts
from convlens.training.data.idx import idx_parts
from convlens.training.data.named import digits, torchvision_parts

__all__ = ["Dataset", "Images", "open_data"]

_NAMES = ("classes.txt", "labels.txt")  # beside IDX files and archives, one name a line


def open_data(
    spec: str | Path = "digits",
    *,
    size: int | tuple[int, int] | None = None,
    validation: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Dataset:
    """Read labeled images into memory, as 8-bit pixels.

    Args:
        spec: what to read:

            - `digits`: scikit-learn's 1,797 digits of 8 × 8 pixels;
            - `torchvision:NAME[@FOLDER]`: one of its data sets, downloaded if it is not there;
            - a folder with IDX files (`train-images-idx3-ubyte`, gzipped or not, and so on);
            - a folder with one folder of photos for each class, or `train` and `test` (or `val`)
              with such folders;
            - a `.npz` file with `images` and `labels`, or `x_train`, `y_train`, `x_test`,
              `y_test`.

            The classes of IDX files and archives are named by a file `classes.txt` beside them,
            one name a line.
        size: height and width in pixels that photos are resized and cropped to.
        validation: the share of each class that is held out where the data has no part of its
            own to test on.
        seed: of that choice.
        strict: raise for a damaged photo instead of leaving it out.
        progress: called with a stage, how many are done and how many there are.

    Raises:
        ConvlensError: nothing of that name, nothing in it, fewer than two classes, labels that do
            not fit, damaged files, or photos whose pixels would not leave half of the memory free.
    """
    if isinstance(size, int):
        size = (size, size)
    text, path = str(spec), Path(spec).expanduser()
    skipped: list[SkippedPhoto] = []
    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    if text == "digits":
        images, labels = digits()
        parts = {"train": images}
    elif text.startswith("torchvision:"):
        parts, labels, preprocessing = torchvision_parts(text.partition(":")[2], size, progress)
    elif path.is_dir():
        parts = idx_parts(path)
        if not parts:
            parts, labels, preprocessing, skipped = folder_parts(
                path, size, progress, strict=strict
            )
    elif path.suffix == ".npz" and path.is_file():
        parts = npz_parts(path)
    else:
        raise ConvlensError(
            f"no data {text!r}: give digits, torchvision:NAME, a folder with one folder for each "
            f"class, a folder with IDX files, or an .npz file"
        )
    if preprocessing is None:
        preprocessing = _own_size(parts, size, text)
    labels = labels or _labels(path if path.is_dir() else path.parent, parts)
    notes = check(parts["train"], labels, text)
    if "test" in parts:
        train, held, held_out = parts["train"], parts["test"], "the data's own test images"
    else:
        train, held = part(parts["train"], labels, validation, seed)
        held_out = f"{validation:.0%} of each class, held out (seed {seed})"
    if len(held) == 0:
        raise ConvlensError(f"{text} holds no images to validate on")
    return Dataset(
        name=text,
        train=train,
        validation=held,
        labels=labels,
        preprocessing=preprocessing,
        held_out=held_out,
        skipped=tuple(skipped),
        notes=notes,
    )


def _own_size(parts: dict[str, Images], size: tuple[int, int] | None, text: str) -> Preprocessing:
    shapes = {tuple(images.pixels.shape[1:]) for images in parts.values()}
    if len(shapes) > 1:
        raise ConvlensError(f"{text} holds images of shapes {sorted(shapes)}; one is needed")
    ((height, width, _),) = shapes
    if size is not None and size != (height, width):
        raise ConvlensError(
            f"{text} holds images of {height} x {width} pixels, which are not resized; "
            f"leave --size out"
        )
    return Preprocessing(size=(height, width), resize=None)


def _labels(folder: Path, parts: dict[str, Images]) -> tuple[str, ...]:
    """Names from the file beside the data, else numbers; all classes must be among them."""
    most = max(int(images.classes.max()) for images in parts.values() if len(images))
    path = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if path is None:
        trained = parts["train"].classes
        if most >= 10 * max(1, len(torch.unique(trained))):
            raise ConvlensError(
                f"the labels go up to {most} for {len(torch.unique(trained))} different classes; "
                f"number the classes from 0"
            )
        return tuple(map(str, range(most + 1)))
    try:
        names = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConvlensError(f"cannot read {path} ({error}); give one name a line") from error
    if most >= len(names):
        raise ConvlensError(
            f"{path} names {len(names)} classes and the labels go up to {most}; name them all"
        )
    return names
