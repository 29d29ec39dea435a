"""Photos: found, decoded the right way up, and left out with a reason where they are damaged."""

import functools
import glob
import io
import os
import threading
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from convlens.errors import ConvlensError, PhotoError, suggest

# The formats of photos. Pillow's others are stubs, have no signature to know them by, or run
# another program (EPS), which an untrusted folder must not bring about.
_ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")
_FORMATS = (*_ANIMATED, "BMP", "DIB", "ICO", "JPEG", "JPEG2000", "MPO", "PPM", "QOI", "TIFF")
_ORIENTATION = ExifTags.Base.Orientation
_LIST = ".txt"
PARQUET_SUFFIX = ".parquet"
_NOT_A_PHOTO = (
    "is a table of photos, which patches, gradcam, fgsm, shift and selectivity read; give photos"
)


@dataclass(frozen=True)
class Photo:
    """A photo as decoded, before any preprocessing.

    Attributes:
        picture: its pixels, 8-bit RGB, the right way up.
        name: what a person calls it: the name of its file.
        path: where it was read, or None.
        notes: short sentences about what was done to the pixels, such as "CMYK: converted to RGB".
    """

    picture: Image.Image
    name: str
    path: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncodedPhoto:
    """A photo's file as it stands in memory, out of a table say.

    Attributes:
        data: the bytes of the file.
        name: what a person calls it.
    """

    data: bytes
    name: str


@dataclass(frozen=True)
class SkippedPhoto:
    """A photo that was left out, and why, in one line."""

    path: Path
    reason: str


def read_photo(source: str | Path | EncodedPhoto | Image.Image | Photo) -> Photo:
    """Decode a photo fully: first frame, EXIF orientation applied, 8-bit RGB.

    16-bit grayscale is scaled to 8 bits (Pillow's own conversion clips it), and what is
    transparent is laid on white.

    Args:
        source: a path, an encoded photo, a PIL image (left as it is) or a Photo (returned as it
            is).

    Raises:
        PhotoError: no such file, a folder, empty, not an image, damaged, too many pixels (Pillow's
            limit against decompression bombs), or pixels in floating point.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, Image.Image):
        name = Path(getattr(source, "filename", "") or "photo").name
        with _one_line(name):
            picture, notes = _decode(source)
        return Photo(picture, name, None, notes)
    with _opened(source) as file:
        if not file.read(1):
            raise PhotoError("is empty; copy it again")
        picture, notes = _decode(Image.open(file, formats=_formats()))
    if isinstance(source, EncodedPhoto):
        return Photo(picture, source.name, None, notes)
    return Photo(picture, shown(Path(source).name), Path(source), notes)


def shown(path: str | Path) -> str:
    """A path as text that can be written; bytes in it that are no UTF-8 stand in hexadecimal."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_stored_size(source: str | Path | EncodedPhoto) -> tuple[int, int, int]:
    """Width and height of a photo file as it is stored, and its EXIF orientation, 1 to 8.

    Raises:
        PhotoError: it cannot be opened.
    """
    with _opened(source) as file:
        picture = Image.open(file, formats=_formats())
        orientation = picture.getexif().get(_ORIENTATION, 1)
        return *picture.size, orientation if orientation in range(1, 9) else 1


def find_photos(arguments: Sequence[str | Path]) -> list[Path]:
    """The photos that files, folders, globs and lists name, each once, in the order given.

    Args:
        arguments: a file is taken whatever its name; a folder stands for all photos in it and
            below, sorted; in a glob `**` reaches below. In folders and globs, only visible files
            with the ending of an image count. A file that ends in `.txt` is a list in UTF-8: a
            line for each photo, its path from the list's folder; blank lines and lines that begin
            with # are left out.

    Raises:
        ConvlensError: nothing of that name, or no photos in it; a list's line that names no file,
            with the line; a table of photos, which only some commands read.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        for path in _expand(Path(argument)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def find_files(argument: str | Path, endings: Collection[str]) -> list[Path]:
    """A file, whatever its name; of a folder and below, or of a glob, files with some endings.

    Args:
        argument: the file, the folder or the glob.
        endings: in small letters, with the dot.

    Returns:
        The visible ones, sorted; none where there are none.

    Raises:
        ConvlensError: nothing of that name.
    """
    # os.path, as pathlib raises for a name that is too long, such as a whole list in quotes.
    if os.path.isfile(argument):  # noqa: PTH113
        return [Path(argument)]
    if os.path.isdir(argument):  # noqa: PTH112
        folder = Path(argument)
        return sorted(path for path in folder.rglob("*") if _counts(path, folder, endings))
    if not glob.has_magic(str(argument)):
        raise ConvlensError(f"{argument} does not exist{_siblings(Path(argument))}")
    # glob.glob, as Path.glob takes no absolute patterns.
    found = (Path(path) for path in glob.glob(str(argument), recursive=True))  # noqa: PTH207
    return sorted(path for path in found if _counts(path, path.parent, endings))


def read_photos(
    paths: Sequence[str | Path], *, strict: bool = False
) -> tuple[list[Photo], list[SkippedPhoto]]:
    """Decode photos; those that cannot be read are left out and named.

    Args:
        paths: files, as from `find_photos`.
        strict: raise for the first that cannot be read.

    Raises:
        PhotoError: with `strict`; or not one can be read.
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
def _opened(source: str | Path | EncodedPhoto) -> Iterator[BinaryIO]:
    if isinstance(source, EncodedPhoto):
        with _one_line(source.name):
            yield io.BytesIO(source.data)
        return
    with _one_line(source), Path(source).open("rb") as file:
        yield file


@contextmanager
def _one_line(path: str | Path) -> Iterator[None]:
    """Every error of decoding as one PhotoError; warnings about harmless damage are dropped."""
    try:
        with _HUSHED:
            yield
    except Exception as error:  # decoders raise whatever they stumble over in a damaged file
        raise PhotoError(f"{shown(path)} {_reason(Path(path), error)}") from error


class _Hushed:
    """Without Pillow's warnings for as long as any thread is in here.

    Filters belong to the process: threads that each put back what they found would put back one
    another's, and leave them changed.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_HUSHED = _Hushed()


def _reason(path: Path, error: Exception) -> str:
    match error:
        case PhotoError():
            reason = str(error)
        case FileNotFoundError() | NotADirectoryError():
            reason = f"does not exist{_siblings(path)}"
        case IsADirectoryError():
            reason = "is a folder; give the photos in it"
        case UnidentifiedImageError() if path.suffix.lower() == PARQUET_SUFFIX:
            reason = _NOT_A_PHOTO
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
    """8-bit RGB pixels of an opened picture, and notes about what was done to them."""
    notes = []
    frames, frame = getattr(picture, "n_frames", 1), picture.tell()
    if frames > 1:
        word = "animated" if picture.format in _ANIMATED else "several pictures"
        which = "first" if frame == 0 else f"number {frame + 1}"
        notes.append(f"{word}: {which} of {frames} frames")
    upright = ImageOps.exif_transpose(picture)
    if picture.getexif().get(_ORIENTATION, 1) in range(2, 9):
        notes.append("rotated by EXIF")
    if upright.mode == "F":
        raise PhotoError("holds 32-bit floats of unknown range; save it with 8 or 16 bits")
    if upright.mode.startswith("I"):
        upright = _eight_bits(upright)
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


def _eight_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise PhotoError("holds 32-bit integers of unknown range; save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _expand(argument: Path) -> list[Path]:
    if argument.suffix.lower() == _LIST and os.path.isfile(argument):  # noqa: PTH113
        return _listed(argument)
    found = find_files(argument, photo_suffixes())
    if found:
        return [_no_table(path) for path in found]
    for path in find_files(argument, (PARQUET_SUFFIX,)):
        _no_table(path)
    if argument.is_dir():
        raise ConvlensError(f"no photos in {argument}; give a folder with image files")
    raise ConvlensError(f"{argument} matches no photos; quote it or check its folder")


def _listed(path: Path) -> list[Path]:
    """The photos of a list."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConvlensError(f"cannot read {path} ({error.strerror}); give a text file") from error
    except UnicodeDecodeError as error:
        raise ConvlensError(f"{path} is not text in UTF-8 ({error}); save it as such") from error
    found = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        photo = path.parent / name
        if not os.path.isfile(photo):  # noqa: PTH113 # names that are too long, as above
            folder = os.path.isdir(photo)  # noqa: PTH112
            reason = (
                "is a folder; a line names one photo"
                if folder
                else f"does not exist{_siblings(photo)}"
            )
            raise ConvlensError(f"{path}, line {number}: {photo} {reason}")
        try:
            found.append(_no_table(photo))
        except ConvlensError as error:
            raise ConvlensError(f"{path}, line {number}: {error}") from None
    if not found:
        raise ConvlensError(f"{path} lists no photos; write one path a line")
    return found


def _no_table(path: Path) -> Path:
    if path.suffix.lower() == PARQUET_SUFFIX:
        raise ConvlensError(f"{path} {_NOT_A_PHOTO}")
    return path


def _counts(path: Path, folder: Path, endings: Collection[str]) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in endings and path.is_file()


def _siblings(path: Path) -> str:
    try:
        return suggest(path.name, (sibling.name for sibling in path.parent.iterdir()))
    except OSError:
        return ""


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # AVIF is not in every build


@functools.cache
def photo_suffixes() -> frozenset[str]:
    """The endings of image files, with the dot."""
    formats = _formats()
    known = Image.registered_extensions().items()
    return frozenset(ending for ending, name in known if name in formats)
