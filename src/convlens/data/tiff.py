"""The tags of TIFF files: gray levels, and what Pillow does not read or reads wrongly."""

from typing import Any, BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_WIDTH, _BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES, _PLANES, _FORMAT = 256, 258, 262, 277, 284, 339
_SEPARATE = 2
_WHITE_IS_ZERO = 0
_KINDS = {2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}
_BYTE_ORDERS = {b"II": "little-endian", b"MM": "big-endian"}
_VERSIONS = {42: False, 43: True}  # whether it is BigTIFF


def gray_levels(picture: Image.Image) -> tuple[int, int]:
    """The value of white in a gray picture with more than 8 bits, and the number of bits."""
    tags: Any = getattr(picture, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    bits = bits if bits in range(9, 16) else 16
    # Pillow inverts pictures of up to 8 bits itself.
    return (0 if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else 2**bits - 1), bits


def has_separate_planes(picture: Image.Image) -> bool:
    """Whether a picture is a TIFF of several colors in separate planes of over 8 bits.

    Pillow reads the bytes of such planes in a wrong order.
    """
    tags: Any = getattr(picture, "tag_v2", {})
    return tags.get(_PLANES) == _SEPARATE and max(tags.get(_BITS_PER_SAMPLE, (1,))) > 8


def describe_tiff(file: BinaryIO) -> str:
    """What a TIFF file holds, such as "12 bits, big-endian"; empty if it is none.

    Args:
        file: open for reading; its position changes.
    """
    file.seek(0)
    header = file.read(16)
    order = _BYTE_ORDERS.get(header[:2])
    if order is None:
        return ""
    version = int.from_bytes(header[2:4], "little" if header[:2] == b"II" else "big")
    if version not in _VERSIONS:
        return ""
    big = _VERSIONS[version]
    try:
        tags = ImageFileDirectory_v2(header if big else header[:8])
        file.seek(tags.next)
        tags.load(file)
        bits = tags[_BITS_PER_SAMPLE] if _WIDTH in tags else ()
        samples = tags.get(_SAMPLES, 1)
        kind = _KINDS.get(tags.get(_FORMAT, (1,))[0], "bits")
        photometric = tags.get(_PHOTOMETRIC)
    except Exception:  # a damaged file raises errors of any type
        return f"BigTIFF, {order}" if big else ""
    if not bits:
        return ""
    words = [f"{bits[0]} bits" if kind == "bits" else f"{kind} of {bits[0]} bits"]
    if samples > 1:
        words.append(f"{samples} values for each pixel")
    words.append(f"{order} BigTIFF" if big else str(order))
    if photometric == _WHITE_IS_ZERO:
        words.append("white is 0")
    return ", ".join(words)
