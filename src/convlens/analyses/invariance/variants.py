"""Variants of an image: moved to other places, scaled, and brightened or darkened."""

import torch
from torch import Tensor
from torch.nn import functional as F

PLACES = (-0.25, -0.125, 0.125, 0.25)  # shifts along both axes, of the image's side
SCALES = (0.5, 0.71, 1.41, 2.0)  # factors of size
LIGHTS = (0.25, 0.5, 1.5, 2.0)  # factors of brightness
VARIANTS = 1 + len(PLACES) + len(SCALES) + len(LIGHTS)  # the image itself is the first


def make_variants(image: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Make all variants of an image, the image itself first.

    Shifted images are rolled around their edges. Reduced ones stand on their own mean color, and of
    enlarged ones the center is shown (bilinear, with antialiasing). Brightness is counted from the
    lower bound, and clipped at the upper one.

    Args:
        image: `(C, H, W)`.
        bounds: the least and the greatest value of a pixel.

    Returns:
        `(1 + P + S + L, C, H, W)`: the image, then P places, S scales and L brightnesses.

    Example:
        >>> import torch
        >>> make_variants(torch.rand(3, 8, 8), bounds=(0.0, 1.0)).shape
        torch.Size([13, 3, 8, 8])
    """
    height, width = image.shape[1:]
    variants = [image]
    for share in PLACES:
        pixels = (round(share * height), round(share * width))
        variants.append(torch.roll(image, pixels, dims=(1, 2)))
    variants += [_scale(image, factor) for factor in SCALES]
    low, high = bounds
    variants += [((image - low) * factor + low).clamp(low, high) for factor in LIGHTS]
    return torch.stack(variants).contiguous(memory_format=torch.channels_last)


def _scale(image: Tensor, factor: float) -> Tensor:
    height, width = image.shape[1:]
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    resized = F.interpolate(
        image[None], size, mode="bilinear", antialias=True, align_corners=False
    )[0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    if factor >= 1:
        return resized[:, top : top + height, left : left + width]
    canvas = image.mean(dim=(1, 2), keepdim=True).expand_as(image).clone()
    canvas[:, -top : -top + size[0], -left : -left + size[1]] = resized
    return canvas
