"""Arrays of pixels as pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convlens.errors import ConvlensError

_CHANNELS = (1, 3, 4)  # gray, RGB, RGB with alpha
_SHAPES = ((), *((channels,) for channels in _CHANNELS))  # behind height and width


def picture_from_array(pixels: NDArray[Any]) -> Image.Image:
    """The picture whose pixels an array holds, with 8 bits for each channel.

    Args:
        pixels: `(H, W)` or `(H, W, C)` with C = 1, 3 or 4 (RGB and alpha): uint8; uint16, where
            65535 is white; bool, where True is white; or floats from 0 to 1, which are rounded to
            the nearest of 256 levels.

    Returns:
        A picture in mode L, RGB or RGBA.

    Raises:
        ConvlensError: an array of another shape, type or range.

    Example:
        >>> picture_from_array(np.ones((3, 4, 3), np.float32)).getpixel((0, 0))
        (255, 255, 255)
    """
    shape = "x".join(map(str, pixels.shape))
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or pixels.shape[2:] not in _SHAPES:
        hint = ""
        if pixels.ndim == 3 and pixels.shape[0] in _CHANNELS:
            hint = "; numpy.moveaxis(array, 0, -1) moves the channels to the end"
        raise ConvlensError(
            f"an array of {shape} is no photo; give height x width, or height x width x channels "
            f"with 1, 3 or 4 channels{hint}"
        )
    levels = _to_8_bits(pixels)
    if levels.shape[2:] == (1,):
        levels = levels[..., 0]
    return Image.fromarray(np.ascontiguousarray(levels))


def _to_8_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ConvlensError(
            f"a photo of type {pixels.dtype}; give uint8, uint16, or floats from 0 to 1"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        raise ConvlensError(
            f"a photo of floats from {low:g} to {high:g}; give floats from 0 to 1, or uint8 from 0 "
            f"to 255; a tensor (N, C, H, W) holds values inside the model's bounds"
        )
    return np.round(pixels * 255).astype(np.uint8)
