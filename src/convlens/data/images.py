"""Images: conversion between tensors and 8-bit pixels, PNG and JPEG files."""

import io
import math
import struct
import zlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convlens.errors import ConvlensError

Pixels = Tensor | NDArray[np.uint8]


def to_tensor(picture: Image.Image, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Convert an 8-bit picture to an image: level k of 255 becomes low + (high - low) k / 255.

    Args:
        picture: picture in mode L (gray) or RGB.
        bounds: values of levels 0 and 255; default: 0 and 1.

    Returns:
        float32 `(C, H, W)`, with C = 1 for a gray and 3 for an RGB picture.

    Raises:
        ConvlensError: a picture in another mode.

    Example:
        >>> from PIL import Image
        >>> to_tensor(Image.new("L", (2, 1), 255), bounds=(-1, 1))
        tensor([[[1., 1.]]])
    """
    if picture.mode not in ("L", "RGB"):
        raise ConvlensError(f"a picture in mode {picture.mode}; give read_photo(...).picture")
    pixels = torch.from_numpy(np.array(picture)).view(1, picture.height, picture.width, -1)
    return from_pixels(pixels, bounds)[0].contiguous()


def from_pixels(pixels: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Convert 8-bit pixels to images: level k of 255 becomes low + (high - low) k / 255.

    Args:
        pixels: uint8 `(N, H, W, C)`.
        bounds: values of levels 0 and 255; default: 0 and 1.

    Returns:
        float32 `(N, C, H, W)` in the channels-last memory format, in which convolutions run a
        quarter to a third faster on a CPU.
    """
    low, high = bounds
    images = pixels.permute(0, 3, 1, 2).float() * (high - low) / 255 + low
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Convert images to 8-bit pixels, rounded to the nearest of 256 levels.

    Args:
        images: floats `(..., C, H, W)`; values outside the bounds are clamped.
        bounds: pixel values that become levels 0 and 255; default: 0 and 1.

    Returns:
        uint8 `(..., H, W, C)` on the CPU.

    Raises:
        ConvlensError: NaN among the values.

    Example:
        >>> import torch
        >>> to_pixels(torch.tensor([[[0.0, 0.5, 2.0]]])).flatten()
        tensor([  0, 128, 255], dtype=torch.uint8)
    """
    low, high = bounds
    values = images.detach().cpu().float()
    if values.numel() and math.isnan(values.amin()):  # the least of values with NaN is NaN
        raise ConvlensError("an image with NaN among its values cannot be drawn")
    levels = (values - low).mul_(255).div_(high - low).round_().clamp_(0, 255)
    return levels.to(torch.uint8).movedim(-3, -1).contiguous()


def encode_png(pixels: Pixels, *, compression: int = 6) -> bytes:
    """Encode pixels as the bytes of a PNG file.

    Args:
        pixels: uint8 `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`.
        compression: 0 to 9, from the fastest to the smallest; always lossless. Of 0 the file is
            about as large as the pixels, and takes a tenth of the time of 1. Default: 6.

    Raises:
        ConvlensError: pixels of another shape or type.
    """
    if compression == 0:
        return _encode_stored(_check_pixels(pixels, (1, 3, 4)))
    return _encode(pixels, (1, 3, 4), format="PNG", compress_level=compression)


def encode_jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """Encode pixels as the bytes of a JPEG file.

    Args:
        pixels: uint8 `(H, W)`, `(H, W, 1)` or `(H, W, 3)`.
        quality: 1 to 95; default: 85.

    Raises:
        ConvlensError: pixels of another shape or type.
    """
    return _encode(pixels, (1, 3), format="JPEG", quality=quality, optimize=True)


def _encode(pixels: Pixels, channels: tuple[int, ...], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_check_pixels(pixels, channels)).save(buffer, **options)
    return buffer.getvalue()


def _encode_stored(array: NDArray[np.uint8]) -> bytes:
    """A PNG whose lines are neither filtered nor compressed; Pillow tries filters all the same.

    Args:
        array: `(H, W)` or `(H, W, C)`.

    References:
        Portable Network Graphics (PNG) Specification, third edition, sections 5, 7.2 and 9.
    """
    height, width = array.shape[:2]
    color_type = 0 if array.ndim == 2 else {3: 2, 4: 6}[array.shape[2]]  # gray, RGB, RGBA
    lines = np.zeros((height, array[0].size + 1), np.uint8)  # the first byte: no filter
    lines[:, 1:] = array.reshape(height, -1)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0),
        b"IDAT": zlib.compress(lines.tobytes(), 0),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


def _check_pixels(pixels: Pixels, channels: tuple[int, ...]) -> NDArray[np.uint8]:
    """Pixels as a contiguous array `(H, W)`, or `(H, W, C)` with several channels."""
    array = pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else pixels
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.size == 0:
        raise ConvlensError(f"pixels are {array.dtype} {array.shape}; give uint8 (H, W, C)")
    if array.ndim == 3 and array.shape[2] not in channels:
        raise ConvlensError(f"pixels {array.shape} have {array.shape[2]} channels, not {channels}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return np.ascontiguousarray(array)
