"""The preprocessing that makes images of photos: a resize on 8-bit pixels, and a crop."""

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from PIL import Image

from convlens.errors import ConvlensError, suggest

if TYPE_CHECKING:
    from torch import Tensor

_FILTERS = {
    name: Image.Resampling[name.upper()]
    for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
}
_SUPPORT = 3  # half the width of the widest filter, Lanczos, in pixels
_MOST_RESIZED = 2**25  # pixels of a resized photo, about 130 MB, before only a part is made


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes an image: a resize on its 8-bit pixels, then a crop at the center.

    Attributes:
        size: height and width of the image in pixels.
        resize: the photo's short side after the resize, in pixels; the long side follows in
            proportion, and `size` is cropped from the middle. None: squashed to `size`.
        interpolation: nearest, box, bilinear, hamming, bicubic or lanczos, as Pillow does them
            (all but nearest widen their filter when they shrink, so nothing aliases).

    Raises:
        ConvlensError: sizes below 1, or an unknown interpolation.
    """

    size: tuple[int, int]
    resize: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if min(self.size) < 1 or (self.resize is not None and self.resize < 1):
            raise ConvlensError(
                f"size {self.size} with resize {self.resize}: both need at least 1 pixel"
            )
        if self.interpolation not in _FILTERS:
            close = suggest(self.interpolation, _FILTERS) or f"; one of {', '.join(_FILTERS)}"
            raise ConvlensError(f"unknown interpolation {self.interpolation!r}{close}")

    def apply(self, picture: Image.Image) -> Image.Image:
        """The photo resized and cropped to `size`.

        Equal in every bit to torchvision's `Resize(resize, interpolation)` and `CenterCrop(size)`
        on PIL images, black where the crop reaches beyond the photo. Only a photo so long and
        thin that it would be resized to more than 33 million pixels is resized in part; there
        single values may differ by rounding.
        """
        height, width = self.size
        if self.resize is None:
            return picture.resize((width, height), _FILTERS[self.interpolation])
        wide, high, left, top = self._resized(picture.width, picture.height)
        crop = (left, top, left + width, top + height)
        if wide * high > _MOST_RESIZED:
            return self._apply_to_part(picture, (wide, high), crop)
        return picture.resize((wide, high), _FILTERS[self.interpolation]).crop(crop)

    def boxes(self, boxes: "Tensor", width: int, height: int) -> "Tensor":
        """Boxes on a photo as boxes on its image.

        Args:
            boxes: `(..., 4)`, left, top, right and bottom in pixels of the photo the right way up,
                0 being the first pixel's outer edge.
            width: of the photo in pixels.
            height: likewise.

        Returns:
            float64 `(..., 4)`, likewise in pixels of the image; parts that the crop leaves out lie
            outside of it.
        """
        import torch

        wide, high, left, top = self._resized(width, height)
        scale = torch.tensor([wide / width, high / height] * 2, dtype=torch.float64)
        return boxes.double() * scale - torch.tensor([left, top] * 2, dtype=torch.float64)

    def summary(self) -> str:
        """The preprocessing in words, for pages."""
        height, width = self.size
        size = f"{height}" if height == width else f"{height} × {width}"
        if self.resize is None:
            return f"squashed to {height} × {width} {self.interpolation}"
        return f"short side {self.resize} {self.interpolation}, center crop {size}"

    def with_size(self, height: int, width: int) -> "Preprocessing":
        """The same preprocessing for images of another size.

        `resize` grows in proportion to the side that grows most, so that a square photo that
        filled the old crop fills the new one.
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
        return wide, high, _offset(wide, self.size[1]), _offset(high, self.size[0])

    def _apply_to_part(
        self, picture: Image.Image, resized: tuple[int, int], crop: tuple[int, int, int, int]
    ) -> Image.Image:
        bounds, boxes = [], []  # per axis, first and last: pixels to make, and where they come from
        for axis, (length, new_length) in enumerate(zip(picture.size, resized, strict=True)):
            # Pillow's filter sees nothing outside its box, so what is made has a margin.
            margin = _SUPPORT * max(1, -(-new_length // length))
            first, last = max(0, crop[axis] - margin), min(new_length, crop[axis + 2] + margin)
            bounds.append((first, last))
            boxes.append((first * length / new_length, min(last * length / new_length, length)))
        (x0, x1), (y0, y1) = bounds
        # Whole pixels are cut out before, as Pillow keeps a box in 32-bit floats only. It rounds
        # between the two axes; across comes first here, as for a photo that is enlarged.
        left, top = int(boxes[0][0]), int(boxes[1][0])
        part = picture.crop((left, top, ceil(boxes[0][1]), ceil(boxes[1][1])))
        across = (boxes[0][0] - left, 0, boxes[0][1] - left, part.height)
        part = part.resize((x1 - x0, part.height), _FILTERS[self.interpolation], across)
        down = (0, boxes[1][0] - top, x1 - x0, boxes[1][1] - top)
        part = part.resize((x1 - x0, y1 - y0), _FILTERS[self.interpolation], down)
        return part.crop((crop[0] - x0, crop[1] - y0, crop[2] - x0, crop[3] - y0))


def _offset(length: int, crop: int) -> int:
    # As torchvision pads and rounds: half a pixel goes to the even side, or outside to the left.
    return -((crop - length) // 2) if crop > length else round((length - crop) / 2)
