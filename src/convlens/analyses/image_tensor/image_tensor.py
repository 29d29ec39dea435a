"""A photo as the tensor of numbers that a network receives, before and after normalization."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convlens.data.images import to_pixels
from convlens.drawing import diverging_colors, render_figure
from convlens.drawing.boards import Board, format_number
from convlens.drawing.palette import ACCENT, MUTED
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model
from convlens.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 5  # rows and columns of numbers that are written out
_MOST_CHANNELS = 3  # that are drawn
_SIDE, _GAP = 5.0, 1.3  # of a picture and between pictures, in cells
_NAMES = ("red", "green", "blue")
_LEVELS = 255  # of an 8-bit pixel


@dataclass(frozen=True, eq=False)
class ImageTensor(Result):
    """An image, what a network receives in its place, and the mean that is subtracted.

    Attributes:
        model: name of the model.
        image: float32 `(C, H, W)`, before normalization.
        normalized: float32 `(C, H, W)`, (image − mean) / std for each channel.
        mean: of each channel, in units of the image.
        std: of each channel, in units of the image.
        center: whether the mean is that of a training set (`data`) or of this image (`image`).
        bounds: least and greatest value of a pixel of the image.
        corner: row and column of the first pixel of the part whose numbers are written out.
    """

    model: str
    image: Tensor
    normalized: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    center: str
    bounds: tuple[float, float]
    corner: tuple[int, int]

    def summary(self) -> str:
        """The size of the tensor, and the mean, in words."""
        channels, height, width = self.image.shape
        mean = ", ".join(format_number(value) for value in self.mean)
        std = ", ".join(format_number(value) for value in self.std)
        source = "of the training set" if self.center == "data" else "of this image"
        return (
            f"{channels} × {height} × {width} = {self.image.numel():,} numbers from "
            f"{self.bounds[0]:g} to {self.bounds[1]:g}; the mean {source} ({mean}) is subtracted, "
            f"and the rest is divided by {std}"
        )

    def figure(self) -> "Figure":
        """Photo and channels, numbers of a part of each channel, and the same after the mean."""
        channels = min(len(self.image), _MOST_CHANNELS)
        top, left = self.corner
        step = _SIDE + _GAP
        board = Board((1 + channels) * step + 0.8, 3 * step + 0.9)
        pixels = to_pixels(self.image, self.bounds)
        side = min(_SHOWN, *self.image.shape[1:])
        part = (..., slice(top, top + side), slice(left, left + side))
        height, width = pixels.shape[:2]
        photo = pixels if pixels.shape[2] == 3 else pixels[..., :1].expand(-1, -1, 3)
        board.words(0.5, 0.6, "image", ha="left", color=MUTED)
        board.picture(photo, 0.5, 1.0, _SIDE, _SIDE)
        board.box(
            0.5 + _SIDE * left / width, 1.0 + _SIDE * top / height, _SIDE * side / width,
            _SIDE * side / height, color=ACCENT, lw=1.6, z=5,
        )  # fmt: skip
        rows = 1.0 + step + _SIDE / 2, 1.0 + 2 * step + _SIDE / 2
        board.words(
            0.5, rows[0], f"the {side} × {side} pixels in\nthe frame, as levels\nfrom 0 to 255",
            ha="left", linespacing=1.4,
        )  # fmt: skip
        board.words(
            0.5, rows[1], "the same pixels, as\nthe network receives\nthem: minus the mean,\n"
            "over the deviation", ha="left", linespacing=1.4,
        )  # fmt: skip
        scale = float(self.normalized.abs().max())
        for channel in range(channels):
            x = 0.5 + (1 + channel) * step
            is_color = len(self.image) == len(_NAMES)
            name = _NAMES[channel] if is_color else f"channel {channel}"
            levels = pixels[..., channel] if pixels.shape[2] > channel else pixels[..., 0]
            tinted = torch.zeros(height, width, 3, dtype=torch.uint8)
            tinted[..., channel if is_color else slice(None)] = (
                levels if is_color else levels[..., None]
            )
            board.words(x, 0.6, f"{name}, {height} × {width}", ha="left", color=MUTED)
            board.picture(tinted, x, 1.0, _SIDE, _SIDE)
            cell = _SIDE / side
            board.grid(
                levels[part].float(), x, 1.0 + step, colors=tinted[(*part[1:],)], side=cell,
            )  # fmt: skip
            board.grid(
                self.normalized[channel][part[1:]], x, 1.0 + 2 * step,
                colors=diverging_colors(self.normalized[channel][part[1:]], scale), signed=True,
                side=cell, decimals=2,
            )  # fmt: skip
            board.words(x, 1.0 + 3 * step - 0.75, self._equation(channel), ha="left", size=8)
        return board.figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"image tensor": render_figure(self.figure(), dpi=150)}

    def _equation(self, channel: int) -> str:
        """How the first written number of a channel is normalized."""
        row, column = self.corner
        value = format_number(float(self.image[channel, row, column]))
        if self.bounds == (0.0, 1.0):
            value = f"{round(float(self.image[channel, row, column]) * _LEVELS)} / {_LEVELS}"
        mean, std = self.mean[channel], self.std[channel]
        sign = "−" if mean >= 0 else "+"
        return (
            f"({value} {sign} {format_number(abs(mean))}) / {format_number(std)} = "
            f"{format_number(float(self.normalized[channel, row, column]))}"
        )


def image_tensor(
    model: Model, photo: ImagesLike, *, at: tuple[int, int] | None = None
) -> ImageTensor:
    """Show a photo as the tensor that a network receives, and the mean that is subtracted.

    Args:
        model: the model. Its network is not run.
        photo: one photo as `Model.prepare` takes it, or an image `(1, C, H, W)` inside the bounds.
        at: row and column of the first of the 5 × 5 pixels whose numbers are written out.
            Default: where their contrast is greatest.

    Returns:
        The image before and after normalization, and the mean and deviation of each channel.

    Raises:
        PhotoError: the photo cannot be read.
        ConvlensError: several images, an image that does not fit the model, or a position outside
            the image.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.1.1.

    Example:
        >>> import torch, convlens
        >>> model = convlens.wrap(torch.nn.Conv2d(3, 4, 3), mean=0.5, std=0.25, size=8)
        >>> result = convlens.image_tensor(model, torch.ones(1, 3, 8, 8))
        >>> float(result.normalized[0, 0, 0])
        2.0
    """
    images = model.check(model.to_images(photo))
    if len(images) > 1:
        raise ConvlensError(f"{len(images)} images; give one, (1, C, H, W)")
    image = images[0].detach().float().cpu().contiguous()
    channels, height, width = image.shape
    side = min(_SHOWN, height, width)
    if at is None:
        at = _find_contrast(image, side)
    elif not (0 <= at[0] <= height - side and 0 <= at[1] <= width - side):
        raise ConvlensError(
            f"{side} x {side} pixels from row {at[0]} and column {at[1]} do not lie in an image of "
            f"{height} x {width}; give at most {height - side},{width - side}"
        )
    mean = (
        tuple(image.mean(dim=(1, 2)).tolist())
        if model.center == "image"
        else _per_channel(model.mean, channels)
    )
    return ImageTensor(
        model=model.name,
        image=image,
        normalized=model.normalize(images)[0].detach().float().cpu().contiguous(),
        mean=mean,
        std=_per_channel(model.std, channels),
        center=model.center,
        bounds=model.bounds,
        corner=at,
    )


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def _find_contrast(image: Tensor, side: int) -> tuple[int, int]:
    """The corner of the window with the greatest variance of its brightness."""
    gray = image.double().mean(dim=0)
    windows = gray.unfold(0, side, 1).unfold(1, side, 1)
    variance = windows.flatten(2).var(dim=2, correction=0)
    number = int(variance.argmax())
    return number // variance.shape[1], number % variance.shape[1]
