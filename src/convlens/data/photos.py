"""Photos: decode image files the right way up, and say why a file cannot be decoded."""

import io
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from convlens.data.array_pictures import picture_from_array
from convlens.data.file_search import describe_broken_link, is_broken_link
from convlens.data.photo_formats import NOT_A_PHOTO, PARQUET_SUFFIX, photo_formats
from convlens.data.picture_conversion import to_rgb
from convlens.data.pixel_budget import PixelBudget
from convlens.data.tiff import describe_tiff, has_separate_planes
from convlens.errors import ConvlensError, PhotoError
from convlens.files import suggest_sibling
from convlens.text import printable

_ORIENTATION = ExifTags.Base.Orientation
# For all photos that are decoded at the same time. Each pixel takes at most 9 bytes.
PIXELS = PixelBudget(2**27)

Decoded = TypeVar("Decoded")
Source = TypeVar("Source")


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
class SkippedPath:
    """A photo that could not be read, or a folder that was left out.

    Attributes:
        path: the file or folder.
        reason: why, in one line.
    """

    path: Path
    reason: str


PhotoLike = str | Path | EncodedPhoto | Image.Image | Photo | NDArray[Any]


def read_photo(source: PhotoLike) -> Photo:
    """Decode a photo: first frame, EXIF orientation applied, 8-bit RGB.

    16-bit grayscale is scaled to 8 bits (Pillow's own conversion clips it), and transparent pixels
    are blended with white. A TIFF file in which 0 is white is inverted.

    Args:
        source: a path, an encoded photo, a PIL image (which is not changed), a Photo (which is
            returned as it is), or pixels as `picture_from_array` takes them.

    Returns:
        The photo with its name and notes.

    Raises:
        ConvlensError: a source of another type.
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
        name = printable(Path(getattr(source, "filename", "") or "photo").name)
        with _as_photo_error(name):
            picture, notes = to_rgb(source)
        return Photo(picture, name, None, notes)
    if isinstance(source, np.ndarray):
        picture, notes = to_rgb(picture_from_array(source))
        if source.dtype != np.uint8:
            notes = (f"{source.dtype}: converted to 8 bits", *notes)
        return Photo(picture, "photo", None, notes)
    if not isinstance(source, (str, Path, EncodedPhoto)):
        raise ConvlensError(
            f"a photo of type {type(source).__name__}; give the path of an image file, a PIL "
            f"image, or an array of height x width x channels"
        )
    with _open(source) as file, PIXELS.scope():
        if not file.read(1):
            raise PhotoError("is empty; copy it again")
        opened = _open_picture(file)
        PIXELS.take(opened.width * opened.height)
        picture, notes = to_rgb(opened)
    if isinstance(source, EncodedPhoto):
        return Photo(picture, source.name, None, notes)
    return Photo(picture, printable(Path(source).name), Path(source), notes)


def _open_picture(file: BinaryIO) -> Image.Image:
    """Open an image file with Pillow; its pixels are not decoded yet.

    Raises:
        PhotoError: a kind of TIFF file that Pillow does not read, or reads wrongly.
    """
    try:
        picture = Image.open(file, formats=photo_formats())
    except UnidentifiedImageError:
        if content := describe_tiff(file):
            raise PhotoError(
                f"is a kind of TIFF that Pillow does not read ({content}); save it as PNG"
            ) from None
        raise
    if has_separate_planes(picture):
        raise PhotoError(
            "is a TIFF with colors of over 8 bits in separate planes, which Pillow reads wrongly; "
            "save it as PNG"
        )
    return picture


def read_header_size(source: str | Path | EncodedPhoto) -> tuple[int, int]:
    """Read the size of a photo file as it is stored; only its header is decoded.

    Args:
        source: a path or an encoded photo.

    Returns:
        Width and height in pixels.

    Raises:
        PhotoError: the file cannot be opened as an image.
    """
    with _open(source) as file:
        return Image.open(file, formats=photo_formats()).size


def read_stored_size(source: str | Path | EncodedPhoto) -> tuple[int, int, int]:
    """Read the size of a photo file as it is stored, and its EXIF orientation.

    Args:
        source: a path or an encoded photo. A PNG file without an orientation ahead of its pixels is
            decoded, because the orientation may stand behind them.

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
    sources: Sequence[Source],
    *,
    strict: bool = False,
    read: Callable[[Source], Decoded] = read_photo,  # type: ignore[assignment]
) -> tuple[list[Decoded], list[SkippedPath]]:
    """Decode several photos and skip those that cannot be read.

    Args:
        sources: files, for example from `find_photos`, or what else `read` takes.
        strict: raise for the first photo that cannot be read instead of skipping it; default:
            False.
        read: reads one photo; what it returns is kept for all photos. Default: `read_photo`.

    Returns:
        What `read` returns for each photo, and the skipped files with their reasons.

    Raises:
        PhotoError: with `strict`, a photo that cannot be read; otherwise, if none can be read.
    """
    photos, skipped = [], []
    for source in sources:
        try:
            photos.append(read(source))
        except PhotoError as error:
            if strict:
                raise
            name = source.name if isinstance(source, EncodedPhoto) else source
            skipped.append(SkippedPath(Path(str(name)), str(error)))
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
    with _as_photo_error(source):
        kind = Path(source).stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a pipe would be waited for
            raise PhotoError("is no ordinary file; give an image file")
        with Path(source).open("rb") as file:
            yield file


@contextmanager
def _as_photo_error(path: str | Path) -> Iterator[None]:
    """Turn every error of decoding into a PhotoError; drop warnings about harmless damage."""
    try:
        with _WITHOUT_PILLOW_WARNINGS:
            yield
    except Exception as error:  # decoders raise errors of any type for a damaged file
        raise PhotoError(f"{printable(path)} {_reason(Path(path), error)}") from error


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
        case OSError(errno=int()) if is_broken_link(path):
            reason = describe_broken_link(path)
        case FileNotFoundError() | NotADirectoryError():
            reason = f"does not exist{suggest_sibling(path)}"
        case IsADirectoryError():
            reason = "is a folder; give the photos in it"
        case UnidentifiedImageError() if path.suffix.lower() == PARQUET_SUFFIX:
            reason = NOT_A_PHOTO
        case UnidentifiedImageError():
            reason = "is not an image that can be read; save it as PNG or JPEG"
        case Image.DecompressionBombError():
            numbers = re.findall(r"\d+", str(error))  # of pixels, and how many are accepted
            size = f" ({int(numbers[0]):,})" if numbers else ""
            reason = f"has too many pixels{size}; save it smaller"
        case OSError(errno=int()):
            reason = f"cannot be read ({error.strerror}); check its name and permissions"
        case _:
            words = " ".join(str(error).split()) or type(error).__name__
            reason = f"is truncated or damaged ({words}); copy it again"
    return reason
