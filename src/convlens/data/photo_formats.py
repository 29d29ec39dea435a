"""Image file formats that photos are read from, and the endings of their names."""

import functools

from PIL import Image

# The formats of photos. Pillow's others are stubs, have no signature to know them by, or run
# another program (EPS), which an untrusted folder must not bring about.
ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")
_FORMATS = (*ANIMATED, "BMP", "DIB", "ICO", "JPEG", "JPEG2000", "MPO", "PPM", "QOI", "TIFF")
PARQUET_SUFFIX = ".parquet"
NOT_A_PHOTO = (
    "is a table of photos, which patches, gradcam, fgsm, shift and selectivity read; give photos"
)


@functools.cache
def photo_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # AVIF is not in every build


@functools.cache
def photo_suffixes() -> frozenset[str]:
    """The endings of image files, with the dot."""
    formats = photo_formats()
    known = Image.registered_extensions().items()
    return frozenset(ending for ending, name in known if name in formats)
