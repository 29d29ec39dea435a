"""Photos: decode image files the right way up, and say why a file cannot be decoded."""

import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from convlens.data.photo_formats import (
    ANIMATED_FORMATS,
    NOT_A_PHOTO,
    PARQUET_SUFFIX,
    photo_formats,
)
from convlens.errors import PhotoError
from convlens.files import suggest_sibling
from convlens.text import printable_path

_ORIENTATION = ExifTags.Base.Orientation


@dataclass(frozen=True)
class Photo:
    """A decoded photo, before any preprocessing.

    Attributes:
        picture: pixels, 8-bit RGB, the right way up.
        name: name of the file, for people.
        path: file that the photo was read from, or None.
        notes: short sentences about changes of the pixels, such as "CMYK: converted to RGB".
    """

    picture: Image.Image
    name: str
    path: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncodedPhoto:
    """The content of an image file in memory, for example from a row of a table.

    Attributes:
        data: bytes of the file.
        name: name of the photo, for people.
    """

    data: bytes
    name: str


@dataclass(frozen=True)
class SkippedPhoto:
    """A photo that could not be read.

    Attributes:
        path: the file.
        reason: why, in one line.
    """

    path: Path
    reason: str


def read_photo(source: str | Path | EncodedPhoto | Image.Image | Photo) -> Photo:
    """Decode a photo: first frame, EXIF orientation applied, 8-bit RGB.

    16-bit grayscale is scaled to 8 bits (Pillow's own conversion clips it), and transparent pixels
    are blended with white.

    Args:
        source: a path, an encoded photo, a PIL image (which is not changed) or a Photo (which is
            returned as it is).

    Returns:
        The photo with its name and notes.

    Raises:
        PhotoError: a file that does not exist, is a folder, empty, damaged or not an image, has
            more pixels than Pillow's limit against decompression bombs, or floating-point pixels.

    Example:
        >>> from PIL import Image
        >>> photo = read_photo(Image.new("CMYK", (4, 3)))
        >>> photo.picture.mode, photo.picture.size, photo.notes
        ('RGB', (4, 3), ('CMYK: converted to RGB',))
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, Image.Image):
        name = Path(getattr(source, "filename", "") or "photo").name
        with _as_photo_error(name):
            picture, notes = _decode(source)
        return Photo(picture, name, None, notes)
    with _open(source) as file:
        if not file.read(1):
            raise PhotoError("is empty; copy it again")
        picture, notes = _decode(Image.open(file, formats=photo_formats()))
    if isinstance(source, EncodedPhoto):
        return Photo(picture, source.name, None, notes)
    return Photo(picture, printable_path(Path(source).name), Path(source), notes)


def read_stored_size(source: str | Path | EncodedPhoto) -> tuple[int, int, int]:
    """Read the size of a photo file as it is stored, and its EXIF orientation.

    Args:
        source: a path or an encoded photo; only its header is decoded.

    Returns:
        Width and height in pixels before the orientation is applied, and the orientation, 1 to 8.

    Raises:
        PhotoError: the file cannot be opened as an image.
    """
    with _open(source) as file:
        picture = Image.open(file, formats=photo_formats())
        orientation = picture.getexif().get(_ORIENTATION, 1)
        return *picture.size, orientation if orientation in range(1, 9) else 1


def read_photos(
    paths: Sequence[str | Path], *, strict: bool = False
) -> tuple[list[Photo], list[SkippedPhoto]]:
    """Decode several photos and skip those that cannot be read.

    Args:
        paths: files, for example from `find_photos`.
        strict: raise for the first photo that cannot be read instead of skipping it.

    Returns:
        The photos, and the skipped files with their reasons.

    Raises:
        PhotoError: with `strict`, a photo that cannot be read; otherwise, if none can be read.
    """
    photos, skipped = [], []
    for path in paths:
        try:
            photos.append(read_photo(path))
        except PhotoError as error:
            if strict:
                raise
            skipped.append(SkippedPhoto(Path(path), str(error)))
    if not photos:
        reason = f"; the first: {skipped[0].reason}" if skipped else ""
        raise PhotoError(f"none of {len(skipped)} photos can be read{reason}")
    return photos, skipped


@contextmanager
def _open(source: str | Path | EncodedPhoto) -> Iterator[BinaryIO]:
    if isinstance(source, EncodedPhoto):
        with _as_photo_error(source.name):
            yield io.BytesIO(source.data)
        return
    with _as_photo_error(source), Path(source).open("rb") as file:
        yield file


@contextmanager
def _as_photo_error(path: str | Path) -> Iterator[None]:
    """Turn every error of decoding into a PhotoError; drop warnings about harmless damage."""
    try:
        with _WITHOUT_PILLOW_WARNINGS:
            yield
    except Exception as error:  # decoders raise errors of any type for a damaged file
        raise PhotoError(f"{printable_path(path)} {_reason(Path(path), error)}") from error


class _WithoutPillowWarnings:
    """Filters Pillow's warnings while any thread is inside.

    Warning filters belong to the process. If each thread restored the filters that it met, threads
    would restore each other's and leave them changed.
    """

    def __init__(self) -> None:
        self._lock, self._threads = threading.Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._threads += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self._filters.__exit__(None, None, None)


_WITHOUT_PILLOW_WARNINGS = _WithoutPillowWarnings()


def _reason(path: Path, error: Exception) -> str:
    match error:
        case PhotoError():
            reason = str(error)
        case FileNotFoundError() | NotADirectoryError():
            reason = f"does not exist{suggest_sibling(path)}"
        case IsADirectoryError():
            reason = "is a folder; give the photos in it"
        case UnidentifiedImageError() if path.suffix.lower() == PARQUET_SUFFIX:
            reason = NOT_A_PHOTO
        case UnidentifiedImageError():
            reason = "is not an image that can be read; save it as PNG or JPEG"
        case Image.DecompressionBombError():
            reason = "has too many pixels; save it smaller"
        case OSError(errno=int()):
            reason = f"cannot be read ({error.strerror}); check its name and permissions"
        case _:
            words = " ".join(str(error).split()) or type(error).__name__
            reason = f"is truncated or damaged ({words}); copy it again"
    return reason


def _decode(picture: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """8-bit RGB pixels of an opened picture, and notes about what was changed."""
    notes = []
    frames, frame = getattr(picture, "n_frames", 1), picture.tell()
    if frames > 1:
        word = "animated" if picture.format in ANIMATED_FORMATS else "several pictures"
        which = "first" if frame == 0 else f"number {frame + 1}"
        notes.append(f"{word}: {which} of {frames} frames")
    upright = ImageOps.exif_transpose(picture)
    if picture.getexif().get(_ORIENTATION, 1) in range(2, 9):
        notes.append("rotated by EXIF")
    if upright.mode == "F":
        raise PhotoError("holds 32-bit floats of unknown range; save it with 8 or 16 bits")
    if upright.mode.startswith("I"):
        upright = _scale_to_8_bits(upright)
        notes.append("16-bit: scaled to 8")
    elif upright.has_transparency_data:
        upright = upright.convert("RGBA")
        if np.asarray(upright.getchannel("A")).min() < 255:
            notes.append("transparent: laid on white")
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright)
    elif upright.mode == "CMYK":
        notes.append("CMYK: converted to RGB")
    return upright.convert("RGB"), tuple(notes)


def _scale_to_8_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise PhotoError("holds 32-bit integers of unknown range; save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
