"""Preprocessing of photos: a resize on 8-bit pixels and a center crop."""

from dataclasses import dataclass, replace
from math import ceil, isqrt
from typing import TYPE_CHECKING

from PIL import Image

from convlens.errors import ConvlensError, suggest

if TYPE_CHECKING:
    from torch import Tensor

_FILTERS = {
    name: Image.Resampling[name.upper()]
    for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
}
_MOST_PIXELS = 2**26  # of an image, which is 800 MB in RGB as 32-bit floats
_SUPPORT = 3  # half the width of the widest filter, Lanczos, in pixels
_MOST_RESIZED = 2**25  # pixels, about 130 MB; of a larger resized photo only a part is computed


def check_image_size(height: int, width: int) -> None:
    """Refuse, before any work, a size that no computer has the memory for.

    Raises:
        ConvlensError: a size of more than 67 million pixels.
    """
    if height * width > _MOST_PIXELS:
        raise ConvlensError(
            f"images of {height} x {width} pixels need too much memory; give a size of at most "
            f"{isqrt(_MOST_PIXELS)} x {isqrt(_MOST_PIXELS)}"
        )


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes an image: a resize of its 8-bit pixels, then a center crop.

    Attributes:
        size: height and width of the image in pixels.
        resize: short side of the photo after the resize, in pixels. The aspect ratio is kept, and
            `size` is cropped from the center. None: the photo is resized to `size` without
            keeping its aspect ratio.
        interpolation: filter of the resize: nearest, box, bilinear, hamming, bicubic or lanczos,
            as Pillow implements them (all but nearest anti-alias when they shrink a photo).

    Raises:
        ConvlensError: a size below 1, or of more than 67 million pixels; an unknown interpolation.

    Example:
        >>> from PIL import Image
        >>> preprocessing = Preprocessing(size=(224, 224), resize=256)
        >>> preprocessing.apply(Image.new("RGB", (640, 480))).size
        (224, 224)
    """

    size: tuple[int, int]
    resize: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if min(self.size) < 1 or (self.resize is not None and self.resize < 1):
            raise ConvlensError(
                f"size {self.size} with resize {self.resize}: both need at least 1 pixel"
            )
        check_image_size(*self.size)
        if self.interpolation not in _FILTERS:
            hint = suggest(self.interpolation, _FILTERS) or f"; one of {', '.join(_FILTERS)}"
            raise ConvlensError(f"unknown interpolation {self.interpolation!r}{hint}")

    def apply(self, picture: Image.Image) -> Image.Image:
        """Resize and crop a photo.

        The result is bit-equal to torchvision's `Resize(resize, interpolation)` and
        `CenterCrop(size)` on PIL images, black where the crop exceeds the photo. Only a part is
        computed of a photo that is so long and thin that the resize would give more than 33 million
        pixels; its values may differ by rounding.

        Args:
            picture: the photo, in any mode that Pillow resizes.

        Returns:
            A picture of `size` in the same mode.
        """
        height, width = self.size
        if self.resize is None:
            return picture.resize((width, height), _FILTERS[self.interpolation])
        wide, high, left, top = self._resized(picture.width, picture.height)
        crop = (left, top, left + width, top + height)
        if wide * high > _MOST_RESIZED:
            return self._apply_to_part(picture, (wide, high), crop)
        return picture.resize((wide, high), _FILTERS[self.interpolation]).crop(crop)

    def transform_boxes(self, boxes: "Tensor", width: int, height: int) -> "Tensor":
        """Transform boxes on a photo to boxes on its image.

        Args:
            boxes: `(..., 4)`, left, top, right and bottom in pixels of the upright photo; 0 is the
                outer edge of the first pixel.
            width: width of the photo in pixels.
            height: height of the photo in pixels.

        Returns:
            float64 `(..., 4)`, left, top, right and bottom in pixels of the image. Boxes are not
            clipped: parts that the crop removes lie outside the image.
        """
        import torch

        wide, high, left, top = self._resized(width, height)
        scale = torch.tensor([wide / width, high / height] * 2, dtype=torch.float64)
        return boxes.double() * scale - torch.tensor([left, top] * 2, dtype=torch.float64)

    def summary(self) -> str:
        """The preprocessing in words, such as "short side 256 bilinear, center crop 224"."""
        height, width = self.size
        size = f"{height}" if height == width else f"{height} × {width}"
        if self.resize is None:
            return f"squashed to {height} × {width} {self.interpolation}"
        return f"short side {self.resize} {self.interpolation}, center crop {size}"

    def with_size(self, height: int, width: int) -> "Preprocessing":
        """The same preprocessing for images of another size.

        `resize` changes by the ratio of the side that grows most, so that a square photo that
        filled the old crop fills the new one.

        Args:
            height: height of the images, in pixels.
            width: width of the images, in pixels.
        """
        resize = self.resize
        if resize is not None:
            resize = max(1, round(resize * max(height / self.size[0], width / self.size[1])))
        return replace(self, size=(height, width), resize=resize)

    def _resized(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Width and height of a photo after the resize, left and top of the crop in it."""
        if self.resize is None:
            return self.size[1], self.size[0], 0, 0
        short, long = sorted((width, height))
        long = int(self.resize * long / short)
        wide, high = (self.resize, long) if width <= height else (long, self.resize)
        return wide, high, _crop_offset(wide, self.size[1]), _crop_offset(high, self.size[0])

    def _apply_to_part(
        self, picture: Image.Image, resized: tuple[int, int], crop: tuple[int, int, int, int]
    ) -> Image.Image:
        """Resize only the part of a photo that the crop needs."""
        bounds, boxes = [], []  # per axis, first and last: pixels to compute, and their sources
        for axis, (length, new_length) in enumerate(zip(picture.size, resized, strict=True)):
            # Pillow's filter sees nothing outside its box, so the part has a margin.
            margin = _SUPPORT * max(1, -(-new_length // length))
            first, last = max(0, crop[axis] - margin), min(new_length, crop[axis + 2] + margin)
            bounds.append((first, last))
            boxes.append((first * length / new_length, min(last * length / new_length, length)))
        (x0, x1), (y0, y1) = bounds
        # The part is first cropped to whole pixels, as Pillow stores a box in 32-bit floats. Pillow
        # rounds between the two axes; it resizes enlarged photos horizontally first.
        left, top = int(boxes[0][0]), int(boxes[1][0])
        part = picture.crop((left, top, ceil(boxes[0][1]), ceil(boxes[1][1])))
        across = (boxes[0][0] - left, 0, boxes[0][1] - left, part.height)
        part = part.resize((x1 - x0, part.height), _FILTERS[self.interpolation], across)
        down = (0, boxes[1][0] - top, x1 - x0, boxes[1][1] - top)
        part = part.resize((x1 - x0, y1 - y0), _FILTERS[self.interpolation], down)
        return part.crop((crop[0] - x0, crop[1] - y0, crop[2] - x0, crop[3] - y0))


def _crop_offset(length: int, crop: int) -> int:
    # As torchvision pads and rounds: half a pixel goes to the even side, or outside to the left.
    return -((crop - length) // 2) if crop > length else round((length - crop) / 2)
