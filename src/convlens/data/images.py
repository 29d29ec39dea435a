"""Images: tensors and 8-bit pixels, PNG and JPEG."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.files import atomic_file

Pixels = Tensor | NDArray[np.uint8]


def to_tensor(picture: Image.Image, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """An 8-bit picture as an image: value k of 255 becomes low + (high - low) k / 255.

    Returns:
        float32 `(C, H, W)`, with C = 1 for a gray and 3 for an RGB picture.

    Raises:
        ConvlensError: a picture in another mode.
    """
    if picture.mode not in ("L", "RGB"):
        raise ConvlensError(f"a picture in mode {picture.mode}; give read_photo(...).picture")
    pixels = torch.from_numpy(np.array(picture)).view(1, picture.height, picture.width, -1)
    return from_pixels(pixels, bounds)[0].contiguous()


def from_pixels(pixels: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """8-bit pixels as images: value k of 255 becomes low + (high - low) k / 255.

    Args:
        pixels: uint8 `(N, H, W, C)`.
        bounds: what 0 and 255 become.

    Returns:
        float32 `(N, C, H, W)` in the channels-last memory layout, in which convolutions run a
        quarter to a third faster on a CPU.
    """
    low, high = bounds
    images = pixels.permute(0, 3, 1, 2).float() * (high - low) / 255 + low
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Images as 8-bit pixels: rounded to the nearest of 256 values, clamped to the bounds.

    Args:
        images: `(..., C, H, W)`.
        bounds: pixel values that become 0 and 255.

    Returns:
        uint8 `(..., H, W, C)` on the CPU, as `write_png` takes it.

    Raises:
        ConvlensError: NaN among the values.
    """
    low, high = bounds
    values = images.detach().cpu().float()
    if bool(values.isnan().any()):
        raise ConvlensError("an image with NaN among its values cannot be drawn")
    levels = ((values - low) * 255 / (high - low)).round().clamp(0, 255)
    return levels.to(torch.uint8).movedim(-3, -1).contiguous()


def encode_png(pixels: Pixels) -> bytes:
    """A PNG file of uint8 pixels `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)`."""
    return _encode(pixels, (1, 3, 4), format="PNG")


def encode_jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """A JPEG file of uint8 pixels `(H, W)`, `(H, W, 1)` or `(H, W, 3)`; quality 1 to 95."""
    return _encode(pixels, (1, 3), format="JPEG", quality=quality, optimize=True)


def write_png(path: str | Path, pixels: Pixels) -> None:
    """Write uint8 pixels, as `encode_png` takes them, to a file: whole or not at all."""
    data = encode_png(pixels)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def _encode(pixels: Pixels, channels: tuple[int, ...], **options: Any) -> bytes:
    array = pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else pixels
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.size == 0:
        raise ConvlensError(f"pixels are {array.dtype} {array.shape}; give uint8 (H, W, C)")
    if array.ndim == 3 and array.shape[2] not in channels:
        raise ConvlensError(f"pixels {array.shape} have {array.shape[2]} channels, not {channels}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, **options)
    return buffer.getvalue()
