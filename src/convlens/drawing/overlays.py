"""Overlays: maps drawn over photos, with each cell at the center of its receptive field."""

import torch
from torch import Tensor

from convlens.drawing.colormaps import diverging_colors, scale_signed
from convlens.errors import ConvlensError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow makes gray
_MOST_OPAQUE = 0.75  # the photo is visible even where the map is strongest
_VIVID = 0.75  # where on the diverging map red and blue are taken; its ends are nearly black


def overlay(photo: Tensor, values: Tensor, scale: float) -> Tensor:
    """Draw a signed map over a gray photo: hue for the sign, opacity for the magnitude.

    Positive numbers are red and negative numbers blue, one color each; where the map is zero the
    gray photo is visible. NaN is magenta.

    Args:
        photo: uint8 `(H, W, 3)`.
        values: `(H, W)`, for example from `place_map`.
        scale: magnitude with the largest opacity, three quarters; larger magnitudes have it too.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        ConvlensError: different shapes, or a scale below zero or not finite.
    """
    if photo.shape != (*values.shape, 3):
        raise ConvlensError(
            f"a map of shape {tuple(values.shape)} for a photo of shape {tuple(photo.shape)}; give "
            f"(H, W) and (H, W, 3)"
        )
    unit = scale_signed(values, scale)
    gray = (photo.cpu().double() @ torch.tensor(_LUMA, dtype=torch.float64)).unsqueeze(-1)
    color = diverging_colors(scale_signed(values, 0) * _VIVID, 1).double()  # one for each sign
    opacity = (unit.abs() * _MOST_OPAQUE).nan_to_num(nan=1.0).unsqueeze(-1)
    return torch.lerp(gray.expand_as(color), color, opacity).round().to(torch.uint8)


def place_map(
    values: Tensor,
    centers_y: Tensor,
    centers_x: Tensor,
    size: tuple[int, int],
    *,
    smooth: bool = True,
) -> Tensor:
    """Interpolate the cells of a map to pixels, given the center of each cell.

    Values are bilinear between the centers and constant beyond the outermost ones.

    Args:
        values: floats `(..., h, w)`.
        centers_y: `(h,)` vertical centers in pixels, not decreasing; 0 is the center of the first
            pixel. They may be unevenly spaced and outside the picture.
        centers_x: `(w,)` horizontal centers, measured in the same way.
        size: height H and width W of the picture.
        smooth: bilinear interpolation; otherwise each pixel has the value of the cell with the
            nearest center, the first of two equally near ones. Default: True.

    Returns:
        `(..., H, W)` in the type of `values`.

    Raises:
        ConvlensError: centers that decrease, are NaN, or are not one for each cell.

    Example:
        >>> import torch
        >>> centers = torch.tensor([0.0, 4.0])
        >>> place_map(torch.tensor([[0.0, 4.0], [0.0, 4.0]]), centers, centers, (1, 5))
        tensor([[0., 1., 2., 3., 4.]])
    """
    for axis, centers in ((-2, centers_y), (-1, centers_x)):
        values = (_interpolate if smooth else _nearest)(values, centers, size[axis], axis)
    return values


def _nearest(values: Tensor, centers: Tensor, length: int, axis: int) -> Tensor:
    centers = _check_centers(values, centers, axis)
    pixels = torch.arange(length, dtype=torch.float64, device=values.device)
    cells = (pixels[:, None] - centers[None]).abs().argmin(dim=1)
    return values.index_select(axis, cells)


def _interpolate(values: Tensor, centers: Tensor, length: int, axis: int) -> Tensor:
    centers = _check_centers(values, centers, axis)
    cells = values.shape[axis]
    if cells == 1:
        return values.expand(*values.shape[:axis], length, *values.shape[axis:][1:])
    pixels = torch.arange(length, dtype=torch.float64, device=values.device)
    right = torch.searchsorted(centers, pixels, right=True).clamp(1, cells - 1)
    left = right - 1
    gap = centers[right] - centers[left]
    # Cells with the same center have no gap between them: the later one counts from there on.
    after = (pixels >= centers[left]).double()
    weight = torch.where(gap > 0, (pixels - centers[left]) / gap, after).clamp(0, 1)
    weight = weight.to(values.dtype).view(-1, *[1] * (-1 - axis))
    return torch.lerp(values.index_select(axis, left), values.index_select(axis, right), weight)


def _check_centers(values: Tensor, centers: Tensor, axis: int) -> Tensor:
    centers = centers.to(values.device, torch.float64)
    cells = values.shape[axis]
    if centers.shape != (cells,) or not bool((centers.diff() >= 0).all()):
        raise ConvlensError(
            f"centers of shape {tuple(centers.shape)} for {cells} cells; give one for each cell, "
            f"in ascending order"
        )
    return centers
