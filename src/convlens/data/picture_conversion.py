"""The pixels of an opened picture as 8-bit RGB, the right way up."""

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import ExifTags, Image, ImageOps

from convlens.data.photo_formats import ANIMATED_FORMATS
from convlens.data.tiff import gray_levels
from convlens.errors import PhotoError

_ORIENTATION = ExifTags.Base.Orientation
_STRIP_PIXELS = 2**20  # converted at once, so that no second copy of a large photo is made


def to_rgb(picture: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The current frame of a picture as 8-bit RGB, and notes about what was changed.

    Raises:
        PhotoError: pixels of an unknown range: floating-point numbers, or integers that are
            negative or have more than 16 bits.
    """
    notes = []
    frames, frame = getattr(picture, "n_frames", 1), picture.tell()
    if frames > 1:
        word = "animated" if picture.format in ANIMATED_FORMATS else "several pictures"
        position = "first" if frame == 0 else f"number {frame + 1}"
        notes.append(f"{word}: {position} of {frames} frames")
    white, bits = gray_levels(picture)
    upright = picture
    if picture.getexif().get(_ORIENTATION, 1) in range(2, 9):
        upright = ImageOps.exif_transpose(picture)
        notes.append("rotated by EXIF")
    if upright.mode == "F":
        raise PhotoError("holds 32-bit floats of unknown range; save it with 8 or 16 bits")
    if upright.mode.startswith("I"):
        upright = _in_strips(upright, "L", partial(_scale_to_8_bits, white=white, bits=bits))
        notes.append(f"{bits}-bit: scaled to 8")
        if white == 0:
            notes.append("white is 0: inverted")
    elif upright.has_transparency_data:
        lowest: list[int] = []
        upright = _in_strips(upright, "RGB", partial(_blend_with_white, lowest=lowest))
        if min(lowest) < 255:
            notes.append("transparent: laid on white")
    elif upright.mode == "CMYK":
        notes.append("CMYK: converted to RGB")
    if upright is picture or upright.mode != "RGB":  # a given image is copied, others need not be
        upright = upright.convert("RGB")
    return upright, tuple(notes)


def _in_strips(
    picture: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Convert a picture to another mode, a strip of rows at a time."""
    rows = max(1, _STRIP_PIXELS // picture.width)
    if rows >= picture.height:
        return convert(picture)
    converted = Image.new(mode, picture.size)
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        converted.paste(convert(strip), (0, top))
    return converted


def _scale_to_8_bits(picture: Image.Image, *, white: int, bits: int) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    highest = 2**bits - 1
    if values.min() < 0 or values.max() > highest:
        kind = "negative" if values.min() < 0 else "32-bit"
        raise PhotoError(f"holds {kind} integers of unknown range; save it with 8 or 16 bits")
    values = values if white else highest - values
    return Image.fromarray(((values * 255 + highest // 2) // highest).astype(np.uint8))


def _blend_with_white(picture: Image.Image, *, lowest: list[int]) -> Image.Image:
    """Lay a picture on white, and add its lowest alpha to `lowest`."""
    colors = picture.convert("RGBA")
    lowest.append(int(np.asarray(colors.getchannel("A")).min()))
    white = Image.new("RGBA", colors.size, "white")
    return Image.alpha_composite(white, colors).convert("RGB")
