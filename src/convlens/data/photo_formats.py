"""Image file formats that photos are read from, and the suffixes of their file names."""

import functools

from PIL import Image

# Pillow's other formats are stubs, have no signature to recognize them by, or run another program
# (EPS), which a folder from an unknown source must not cause.
ANIMATED_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")
_FORMATS = (*ANIMATED_FORMATS, "BMP", "DIB", "ICO", "JPEG", "JPEG2000", "MPO", "PPM", "QOI", "TIFF")
PARQUET_SUFFIX = ".parquet"
NOT_A_PHOTO = (  # the end of a message about a Parquet file
    "is a table of photos, which patches, gradcam, fgsm, shift and selectivity read; give photos"
)


@functools.cache
def photo_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that photos are read from; AVIF is not in every build."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@functools.cache
def photo_suffixes() -> frozenset[str]:
    """Suffixes of image files, in lower case with the dot."""
    formats = photo_formats()
    registered = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in registered if name in formats)
