"""IDX files, as MNIST and Fashion-MNIST are published, gzipped or not."""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convlens.errors import ConvlensError
from convlens.training.data.dataset import Images, as_images

_NAME = re.compile(
    r"(?P<part>train|t10k|test|val)\w*[-_.](?P<what>images|labels)[-_.]idx[13]-ubyte(\.gz)?"
)
_BYTES = 0x08  # the format's code for unsigned bytes


def idx_parts(folder: Path) -> dict[str, Images]:
    """The parts of a data set in a folder of IDX files: `train`, and `test` where it is there.

    An empty mapping where the folder holds no such files.

    Raises:
        ConvlensError: images without their labels, another number of them, or a damaged file.
    """
    files: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name:
            files.setdefault(("train" if name["part"] == "train" else "test", name["what"]), path)
    parts = {}
    for part in ("train", "test"):
        images, labels = files.get((part, "images")), files.get((part, "labels"))
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            there = images or labels
            raise ConvlensError(
                f"{there} is there, but not the {'labels' if labels is None else 'images'} to it"
            )
        parts[part] = _read_pair(images, labels)
    if "test" in parts and "train" not in parts:
        raise ConvlensError(f"{folder} holds test images only, and no train-images-idx3-ubyte")
    return parts


def _read_pair(images: Path, labels: Path) -> Images:
    pixels, classes = _read(images), _read(labels)
    if pixels.ndim != 3 or classes.ndim != 1:
        raise ConvlensError(
            f"{images} holds an array of {pixels.ndim} dimensions and {labels} one of "
            f"{classes.ndim}; 3 (images) and 1 (labels) are needed"
        )
    if len(pixels) != len(classes):
        raise ConvlensError(
            f"{images} holds {len(pixels)} images and {labels} {len(classes)} labels; "
            f"they do not belong together"
        )
    return as_images(pixels, classes.astype(np.int64))


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ConvlensError(f"{path} cannot be read ({error}); copy it again") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _BYTES]):
        raise ConvlensError(f"{path} is no IDX file of bytes (it does not begin with 0, 0, 8)")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ConvlensError(f"{path} is truncated in its header; copy it again")
    shape = tuple(np.frombuffer(content, ">i4", dimensions, 4).tolist())
    wanted = int(np.prod(shape))
    if len(content) - start != wanted:
        raise ConvlensError(
            f"{path} should hold {wanted:,} bytes and holds {len(content) - start:,}; copy it again"
        )
    # a copy, since the bytes may not be written to and torch warns of that
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
