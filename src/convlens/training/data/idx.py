"""IDX files, the format of MNIST and Fashion-MNIST, gzipped or not."""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convlens.errors import ConvlensError
from convlens.training.data.labeled_images import LabeledImages, make_labeled_images

_NAME = re.compile(
    r"(?P<part>train|t10k|test|val)\w*[-_.](?P<content>images|labels)[-_.]idx[13]-ubyte(\.gz)?"
)
_BYTES = 0x08  # the format's code for unsigned bytes


def read_idx_folder(folder: Path) -> dict[str, LabeledImages]:
    """Read the splits of a data set from a folder of IDX files: `train`, and `test` if it has one.

    Args:
        folder: holds files such as `train-images-idx3-ubyte` and `train-labels-idx1-ubyte.gz`.

    Returns:
        Images and classes by split; empty if the folder holds no IDX files.

    Raises:
        ConvlensError: images without labels or labels without images, different numbers of them,
            or a damaged file.
    """
    files: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        name = _NAME.fullmatch(path.name)
        if name:
            split = "train" if name["part"] == "train" else "test"
            files.setdefault((split, name["content"]), path)
    splits = {}
    for split in ("train", "test"):
        images, labels = files.get((split, "images")), files.get((split, "labels"))
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            present = images or labels
            absent = "labels" if labels is None else "images"
            raise ConvlensError(f"{present} is there, but not the {absent} for it; add that file")
        splits[split] = _read_pair(images, labels)
    if "test" in splits and "train" not in splits:
        raise ConvlensError(f"{folder} holds test images only, and no train-images-idx3-ubyte")
    return splits


def _read_pair(images: Path, labels: Path) -> LabeledImages:
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
    return make_labeled_images(pixels, classes.astype(np.int64))


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
    expected = int(np.prod(shape))
    if len(content) - start != expected:
        raise ConvlensError(
            f"{path} should hold {expected:,} bytes and holds {len(content) - start:,}; "
            f"copy it again"
        )
    # A copy, because torch warns about arrays that cannot be written to.
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
